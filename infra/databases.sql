-- What PostgreSQL makes on its first start, beside the catalog's database.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE label_studio;

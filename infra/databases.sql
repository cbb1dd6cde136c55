-- The databases that PostgreSQL creates on its first start, beside the catalog's.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE label_studio;

-- The roles and databases that PostgreSQL creates on its first start. Each role enters its own database only.
-- The catalog has two: its owner migrates it, and the workers write its rows. So no worker can drop the ledger's triggers.
\set ON_ERROR_STOP on
\set catalog_owner `cat "${SECRETS:-/run/secrets}/database_catalog_owner"`
\set catalog_writer `cat "${SECRETS:-/run/secrets}/database_catalog_writer"`
\set prefect `cat "${SECRETS:-/run/secrets}/database_prefect"`
\set mlflow `cat "${SECRETS:-/run/secrets}/database_mlflow"`
\set label_studio `cat "${SECRETS:-/run/secrets}/database_label_studio"`
SELECT '' IN (:'catalog_owner', :'catalog_writer', :'prefect', :'mlflow', :'label_studio') AS unreadable \gset
\if :unreadable
DO $$ BEGIN RAISE EXCEPTION 'a file /run/secrets/database_… cannot be read: let infra/make_secrets.py write them as root'; END $$;
\endif

CREATE ROLE catalog_owner LOGIN PASSWORD :'catalog_owner';
CREATE ROLE catalog_writer LOGIN PASSWORD :'catalog_writer';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE label_studio LOGIN PASSWORD :'label_studio';

CREATE DATABASE vitau OWNER catalog_owner;
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE label_studio OWNER label_studio;
REVOKE CONNECT ON DATABASE postgres, template1, vitau, prefect, mlflow, label_studio FROM PUBLIC;
GRANT CONNECT ON DATABASE vitau TO catalog_writer;
-- what the writer may do in the tables, their owner grants after each migration: vitau/catalog/roles.py

-- The roles and databases of PostgreSQL. Containers run it on their first start, `make up profile=full` at every start: it is
-- idempotent. Each role enters its own database only, and owns the schema in it. The catalog has two: its owner migrates it, and
-- the workers write its rows, so no worker can drop the ledger's triggers. `eraser` owns the databases and no table in them: an
-- erasure searches every row with it (which includes the hashes of passwords) and compacts the files, but it changes no row.
\set ON_ERROR_STOP on
\set catalog_owner `printenv database_catalog_owner || cat "${SECRETS:-/run/secrets}/database_catalog_owner"`
\set catalog_writer `printenv database_catalog_writer || cat "${SECRETS:-/run/secrets}/database_catalog_writer"`
\set eraser `printenv database_eraser || cat "${SECRETS:-/run/secrets}/database_eraser"`
\set prefect `printenv database_prefect || cat "${SECRETS:-/run/secrets}/database_prefect"`
\set mlflow `printenv database_mlflow || cat "${SECRETS:-/run/secrets}/database_mlflow"`
\set label_studio `printenv database_label_studio || cat "${SECRETS:-/run/secrets}/database_label_studio"`
SELECT '' IN (:'catalog_owner', :'catalog_writer', :'eraser', :'prefect', :'mlflow', :'label_studio') AS unreadable \gset
\if :unreadable
DO $$ BEGIN RAISE EXCEPTION 'a file /run/secrets/database_… cannot be read: let infra/make_secrets.py write them as root'; END $$;
\endif

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['catalog_owner', 'catalog_writer', 'eraser', 'prefect', 'mlflow', 'label_studio']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE catalog_owner PASSWORD :'catalog_owner';
ALTER ROLE catalog_writer PASSWORD :'catalog_writer';
ALTER ROLE eraser PASSWORD :'eraser';
ALTER ROLE prefect PASSWORD :'prefect';
ALTER ROLE mlflow PASSWORD :'mlflow';
ALTER ROLE label_studio PASSWORD :'label_studio';
-- goes before a setting of the database, which its owner could make
ALTER ROLE catalog_owner SET search_path = public;
ALTER ROLE catalog_writer SET search_path = public;
ALTER ROLE prefect SET search_path = public;
ALTER ROLE mlflow SET search_path = public;
ALTER ROLE label_studio SET search_path = public;

SELECT format('CREATE DATABASE %I', name)
FROM unnest(ARRAY['vitau', 'prefect', 'mlflow', 'label_studio']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
ALTER DATABASE vitau OWNER TO eraser;
ALTER DATABASE prefect OWNER TO eraser;
ALTER DATABASE mlflow OWNER TO eraser;
ALTER DATABASE label_studio OWNER TO eraser;
REVOKE CONNECT ON DATABASE postgres, template1, vitau, prefect, mlflow, label_studio FROM PUBLIC;
GRANT CONNECT ON DATABASE vitau TO catalog_owner, catalog_writer;
-- CREATE is for their extensions
GRANT CONNECT, CREATE ON DATABASE prefect TO prefect;
GRANT CONNECT, CREATE ON DATABASE mlflow TO mlflow;
GRANT CONNECT, CREATE ON DATABASE label_studio TO label_studio;

GRANT pg_read_all_data TO eraser;
SELECT grants FROM unnest(ARRAY['GRANT pg_checkpoint TO eraser', 'GRANT SET, ALTER SYSTEM ON PARAMETER wal_recycle TO eraser']) AS grants
WHERE current_setting('server_version_num')::integer >= 150000 \gexec

\connect prefect
ALTER SCHEMA public OWNER TO prefect;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
\connect mlflow
ALTER SCHEMA public OWNER TO mlflow;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
\connect label_studio
ALTER SCHEMA public OWNER TO label_studio;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
\connect vitau
ALTER SCHEMA public OWNER TO catalog_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_ls_waldir(), pg_switch_wal(), pg_reload_conf() TO eraser; -- an erasure empties the write-ahead log
-- what the writer may do in the tables, their owner grants after each migration: vitau/catalog/roles.py

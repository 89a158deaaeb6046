-- PostgreSQL: texts are compared by their bytes, as SQLite and Go do, whatever the locale of the database.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE c RECORD;
BEGIN
    FOR c IN SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = CURRENT_SCHEMA() AND data_type = 'text' AND table_name IN
            ('settings', 'images', 'outcomes', 'rejected', 'rulings', 'duplicates', 'expectations', 'expected', 'reports', 'patients', 'studies', 'patient_links')
    LOOP
        EXECUTE FORMAT('ALTER TABLE %I ALTER COLUMN %I TYPE TEXT COLLATE "C"', c.table_name, c.column_name);
    END LOOP;
END $$;
-- +goose StatementEnd

-- Parts of names. The extension is of PostgreSQL's own; who owns a database may add it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX patients_parts ON patients USING GIN (search gin_trgm_ops);

-- Documents lie apart from the rows, so that searches read few pages.
ALTER TABLE reports SET (toast_tuple_target = 256);

-- +goose Down
DROP INDEX patients_parts;
ALTER TABLE reports RESET (toast_tuple_target);

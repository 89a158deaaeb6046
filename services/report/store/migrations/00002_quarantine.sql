-- What people decided about files in quarantine.

-- +goose Up
ALTER TABLE rejected ADD COLUMN state TEXT NOT NULL DEFAULT 'open'; -- open, releasing, released, discarded
ALTER TABLE rejected ADD COLUMN steps TEXT NOT NULL DEFAULT '[]';   -- decisions and what became of them, JSON
ALTER TABLE rejected ADD COLUMN rulings INTEGER NOT NULL DEFAULT 0; -- documents in steps; more are newer
CREATE INDEX rejected_state ON rejected (state, received_ms);

-- One row a decision or release that is in steps.
CREATE TABLE rulings (
    document_key TEXT PRIMARY KEY
);

-- +goose Down
DROP TABLE rulings;
DROP INDEX rejected_state;
ALTER TABLE rejected DROP COLUMN rulings;
ALTER TABLE rejected DROP COLUMN steps;
ALTER TABLE rejected DROP COLUMN state;

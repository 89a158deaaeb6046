-- What manifests announce of studies.

-- +goose Up
CREATE TABLE expectations (
    document_key TEXT PRIMARY KEY,
    clinic       TEXT NOT NULL,
    study_uid    TEXT NOT NULL,
    received_ms  BIGINT NOT NULL
);
CREATE INDEX expectations_study ON expectations (clinic, study_uid, received_ms);

-- One row a SOP instance of a manifest.
CREATE TABLE expected (
    document_key TEXT NOT NULL,
    sop_uid      TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    PRIMARY KEY (document_key, sop_uid)
);
CREATE INDEX expected_sha ON expected (sha256);
CREATE INDEX expected_sop ON expected (sop_uid);

ALTER TABLE rejected ADD COLUMN sha256 TEXT NOT NULL DEFAULT '';
ALTER TABLE rejected ADD COLUMN sop_uid TEXT NOT NULL DEFAULT ''; -- '' also for files that came before this column
UPDATE rejected SET sha256 = SUBSTR(document_key, LENGTH(document_key) - 68, 64); -- …/<sha256>.json
CREATE INDEX rejected_sha ON rejected (sha256);
CREATE INDEX rejected_sop ON rejected (sop_uid);

ALTER TABLE studies ADD COLUMN expected INTEGER NOT NULL DEFAULT 0;      -- SOP instances of the newest manifest
ALTER TABLE studies ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;       -- of them, what nothing came of
ALTER TABLE studies ADD COLUMN await_ms BIGINT NOT NULL DEFAULT 0;       -- until when they are waited for
ALTER TABLE studies ADD COLUMN await_over_ms BIGINT NOT NULL DEFAULT 0;  -- which await_ms was dealt with

-- +goose Down
ALTER TABLE studies DROP COLUMN await_over_ms;
ALTER TABLE studies DROP COLUMN await_ms;
ALTER TABLE studies DROP COLUMN missing;
ALTER TABLE studies DROP COLUMN expected;
DROP INDEX rejected_sop;
DROP INDEX rejected_sha;
ALTER TABLE rejected DROP COLUMN sop_uid;
ALTER TABLE rejected DROP COLUMN sha256;
DROP TABLE expected;
DROP TABLE expectations;

-- What a person should see to in the morning: studies and manifests of which something did not come.

-- +goose Up
CREATE INDEX studies_missing ON studies (await_ms) WHERE missing > 0;
CREATE INDEX expectations_received ON expectations (received_ms, clinic, study_uid);

-- +goose Down
DROP INDEX expectations_received;
DROP INDEX studies_missing;

-- A corrected set takes over what its base, the published version before it, has computed from the same files.

-- The version that this one may be compared with; none where nothing is known of what has changed in between. The rows of its files
-- stay until this version is published or cancelled.
ALTER TABLE set_version ADD COLUMN base_version_id bigint REFERENCES set_version;
CREATE INDEX set_version_of_base ON set_version (base_version_id) WHERE state IN ('open', 'blocked');

-- What a batch takes over, decided when it was planned: 'links', 'orphans', 'values', 'messages'.
ALTER TABLE batch ADD COLUMN carried text[] NOT NULL DEFAULT '{}';
-- The clients or portfolios that an outbound batch is about; null where it is all of its slice.
ALTER TABLE batch ADD COLUMN only_references uuid[];
-- The declaration by which it was computed: what another one has computed cannot be taken over.
ALTER TABLE batch ADD COLUMN made_by text;

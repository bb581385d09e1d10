-- A batch's outbound messages go out together and are marked together. A mark in each message's row wrote every one of them a second
-- time, its payload and its places in three indexes with it; now a message was sent when its batch was done.
ALTER TABLE outbound RENAME TO outbound_message;

-- Where a mark is missing all the same, the sweep lets the batch go out again.
UPDATE batch b SET done_at = NULL
WHERE b.rule LIKE 'outbound.%' AND b.done_at IS NOT NULL AND (b.set_version_id, substr(b.rule, 10), b.batch_index) IN (
    SELECT set_version_id, kind, batch_index FROM outbound_message WHERE sent_at IS NULL);

-- The index of unsent messages goes with it.
ALTER TABLE outbound_message DROP COLUMN sent_at;
-- A message's id is made from its key and version, so one index says that neither is there twice. Whoever wants a set's messages
-- knows its versions.
DROP INDEX outbound_of_key;
CREATE INDEX outbound_of_batch ON outbound_message (set_version_id, batch_index);

CREATE VIEW outbound AS
SELECT o.message_id, o.set_version_id, o.tenant, o.business_date, o.kind, o.reference, o.version, o.supersedes, o.batch_index, o.withdrawn,
       o.content_sha256, o.payload, o.created_at, b.done_at AS sent_at
FROM outbound_message o LEFT JOIN batch b
     ON b.set_version_id = o.set_version_id AND b.rule = 'outbound.' || o.kind AND b.batch_index = o.batch_index;

-- The batches of a transformer of portfolios are slices by account now. Where some of a version's batches were computed and others
-- were not, all are computed anew: a slice of the one kind and one of the other would leave portfolios out. A worker of an older
-- version that is still at work cannot store values any more, for it would name the column that goes here.
ALTER TABLE value DROP COLUMN batch_index;
CREATE TEMPORARY TABLE half_computed ON COMMIT DROP AS
SELECT b.set_version_id, b.rule FROM batch b JOIN set_version v USING (set_version_id)
WHERE v.state IN ('open', 'blocked') AND b.batch_count > 1 AND b.rule <> 'relationship' AND b.rule NOT LIKE 'outbound.%'
GROUP BY b.set_version_id, b.rule HAVING bool_or(b.computed_at IS NOT NULL) AND bool_or(b.computed_at IS NULL);
DELETE FROM value x USING half_computed h WHERE x.set_version_id = h.set_version_id AND x.transformer = h.rule;
UPDATE batch b SET computed_at = NULL, done_at = NULL, sent_at = NULL, topic_partition = NULL, topic_offset = NULL
FROM half_computed h WHERE b.set_version_id = h.set_version_id AND b.rule = h.rule;

-- Rows come by the hundred thousand here as well: a fifth of the sample says the same of them (STATISTICS 20, as for the rows of files).
ALTER TABLE outbound_message
    ALTER message_id SET STATISTICS 20,
    ALTER set_version_id SET STATISTICS 20,
    ALTER tenant SET STATISTICS 20,
    ALTER business_date SET STATISTICS 20,
    ALTER kind SET STATISTICS 20,
    ALTER reference SET STATISTICS 20,
    ALTER version SET STATISTICS 20,
    ALTER supersedes SET STATISTICS 20,
    ALTER batch_index SET STATISTICS 20,
    ALTER withdrawn SET STATISTICS 20,
    ALTER content_sha256 SET STATISTICS 20,
    ALTER payload SET STATISTICS 20,
    ALTER created_at SET STATISTICS 20;
ALTER TABLE value
    ALTER set_version_id SET STATISTICS 20,
    ALTER transformer SET STATISTICS 20,
    ALTER logic_version SET STATISTICS 20,
    ALTER reference SET STATISTICS 20,
    ALTER fields SET STATISTICS 20;
ALTER TABLE link
    ALTER set_version_id SET STATISTICS 20,
    ALTER client_reference SET STATISTICS 20,
    ALTER portfolio_reference SET STATISTICS 20,
    ALTER account_number SET STATISTICS 20;

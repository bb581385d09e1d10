-- A file whose name says no date is told of, too.
ALTER TABLE notification ALTER COLUMN business_date DROP NOT NULL;
ALTER TABLE notification DROP CONSTRAINT notification_kind_check;
ALTER TABLE notification ADD CONSTRAINT notification_kind_check
    CHECK (kind IN ('set_ready', 'set_blocked', 'set_late', 'file_rejected') AND (kind = 'file_rejected') = (business_date IS NULL));

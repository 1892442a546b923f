-- Makes a step of a machine, if its state is still the one the step begins with: one statement is one transaction.
CREATE TRIGGER IF NOT EXISTS made INSTEAD OF INSERT ON steps BEGIN
    SELECT raise(ABORT, 'the machine has moved on')
        WHERE (SELECT state FROM machines WHERE kind = new.kind AND name = new.name) IS NOT new.was;
    INSERT INTO machines (kind, name, state) VALUES (new.kind, new.name, new.state)
        ON CONFLICT (kind, name) DO UPDATE SET state = excluded.state;
    INSERT INTO entries SELECT new.kind, new.name, machines.entries + key + 1, value
        FROM machines, json_each(new.entries) WHERE kind = new.kind AND name = new.name;
    UPDATE machines SET entries = entries + json_array_length(new.entries),
        alarm = CASE WHEN new.alarm IS -1 THEN alarm ELSE new.alarm END
        WHERE kind = new.kind AND name = new.name;
    INSERT INTO outbox (value, attempts, due) SELECT value, 0, new.now FROM json_each(new.outbox);
    DELETE FROM machines WHERE kind = new.kind AND name = new.name AND state IS NULL AND machines.entries = 0;
END;

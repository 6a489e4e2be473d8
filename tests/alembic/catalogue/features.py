"""What a table may have on the column that is sealed: what comes back, and what is refused."""

COLUMNS = "id integer NOT NULL, clinic_id varchar(40) NOT NULL, ssn varchar(11){options}, note varchar(90)"

# For each database, sets of statements; each set goes with any other.
RESTORED: dict[str, dict[str, list[str]]] = {
    "postgresql": {
        "sorted": ["CREATE UNIQUE INDEX u1 ON patients (ssn DESC NULLS LAST) TABLESPACE pg_default"],
        "covering key": ["ALTER TABLE patients ADD CONSTRAINT u2 UNIQUE (id, clinic_id) INCLUDE (ssn)"],
        "deferred": [
            "ALTER TABLE patients ADD CONSTRAINT u3 UNIQUE (clinic_id, ssn) WITH (fillfactor = 70) "
            "DEFERRABLE INITIALLY DEFERRED",
            "COMMENT ON CONSTRAINT u3 ON patients IS 'it''s a key: 100%'",
            "COMMENT ON INDEX u3 IS 'back\\slash'",
        ],
        "partial": ["CREATE UNIQUE INDEX one ON patients (id, clinic_id) WHERE ssn IS NOT NULL AND id > 0"],
        "covering": [
            "CREATE INDEX covers ON patients (clinic_id text_pattern_ops DESC) INCLUDE (ssn) "
            "WITH (fillfactor = 60)"
        ],
        "expression": [
            "CREATE INDEX lowered ON patients (lower(note), ssn)",
            "ALTER INDEX lowered ALTER COLUMN 1 SET STATISTICS 500",
        ],
        "hash": ["CREATE INDEX hashed ON patients USING hash (ssn)"],
        "exclude": [
            "ALTER TABLE patients ADD CONSTRAINT ex EXCLUDE USING btree (ssn WITH =) WHERE (ssn IS NOT NULL)"
        ],
        "grants": [
            "GRANT SELECT (id, ssn), UPDATE (ssn) ON patients TO pg_monitor WITH GRANT OPTION",
            "GRANT INSERT (ssn) ON patients TO PUBLIC",
        ],
        "replica identity": [
            "CREATE UNIQUE INDEX ri ON patients (id) INCLUDE (ssn)",
            "ALTER TABLE patients REPLICA IDENTITY USING INDEX ri",
        ],
        "cluster": ["CREATE INDEX cl ON patients (ssn)", "ALTER TABLE patients CLUSTER ON cl"],
        "statistics": [
            "CREATE STATISTICS st (mcv, dependencies) ON clinic_id, ssn FROM patients",
            "ALTER STATISTICS st SET STATISTICS 50",
            "COMMENT ON STATISTICS st IS 'they go together'",
        ],
        "attributes": [
            "ALTER TABLE patients ALTER COLUMN ssn SET STATISTICS 400",
            "ALTER TABLE patients ALTER COLUMN ssn SET (n_distinct = -0.5)",
            "ALTER TABLE patients ALTER COLUMN ssn SET STORAGE EXTERNAL",
            "ALTER TABLE patients ALTER COLUMN ssn SET COMPRESSION pglz",
        ],
        "comment": ["COMMENT ON COLUMN patients.ssn IS 'it''s :secret, \\100%'"],
    },
    "mariadb": {
        "sorted": ["CREATE UNIQUE INDEX u1 ON patients (ssn DESC) COMMENT 'it\\'s: 100%'"],
        "ignored": ["ALTER TABLE patients ADD INDEX i2 (clinic_id, ssn) IGNORED"],
        "several": ["ALTER TABLE patients ADD INDEX i3 (ssn, note(10) DESC, id)"],
        "hash": ["ALTER TABLE patients ADD INDEX i4 (ssn) USING HASH"],
        "comment": ["ALTER TABLE patients MODIFY ssn varchar(11){options} COMMENT 'it''s :secret, \\\\100%'"],
        "invisible": ["ALTER TABLE patients MODIFY ssn varchar(11) INVISIBLE"],
        "first": ["ALTER TABLE patients MODIFY ssn varchar(11){options} FIRST"],
    },
    "sqlite": {
        "sorted": ["CREATE UNIQUE INDEX u1 ON patients (ssn COLLATE NOCASE DESC)"],
        "partial": ["CREATE INDEX one ON patients (id) WHERE ssn IS NOT NULL AND id > 0"],
        "expression": ["CREATE INDEX lowered ON patients (lower(note), ssn)"],
        "view": ["CREATE VIEW notes AS SELECT id, note FROM patients"],
        "trigger": ["CREATE TRIGGER noted AFTER UPDATE OF note ON patients BEGIN SELECT new.ssn; END"],
    },
}

# Statements that go together in one table, each with what the refusal says of them.
REFUSED: dict[str, dict[str, list[str]]] = {
    "postgresql": {
        "view v reads it": ["CREATE VIEW v AS SELECT id, ssn FROM patients"],
        "materialized view m reads it": ["CREATE MATERIALIZED VIEW m AS SELECT lower(ssn) FROM patients"],
        "rule r on table patients": [
            "CREATE RULE r AS ON DELETE TO patients WHERE old.ssn = 'x' DO INSTEAD NOTHING"
        ],
        "policy own on table patients": ["CREATE POLICY own ON patients USING (ssn <> '')"],
        "column lowered of table patients": [
            "ALTER TABLE patients ADD lowered text GENERATED ALWAYS AS (lower(ssn)) STORED"
        ],
        "function f": [
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC "
            "SELECT count(ssn) FROM patients; END"
        ],
        "trigger of on table patients": [
            "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER of BEFORE UPDATE OF ssn ON patients FOR EACH ROW EXECUTE FUNCTION tf()",
        ],
        "trigger whenever on table patients": [
            "CREATE TRIGGER whenever BEFORE UPDATE ON patients FOR EACH ROW "
            "WHEN (new.ssn IS NULL) EXECUTE FUNCTION tf()"
        ],
        "publication of table patients in publication": [
            "CREATE PUBLICATION pub FOR TABLE patients (id, clinic_id, ssn)"
        ],
        "it is named by the foreign key: constraint visits_ssn_fkey on table visits": [
            "ALTER TABLE patients ADD CONSTRAINT u UNIQUE (ssn)",
            "CREATE TABLE visits (ssn varchar(11) REFERENCES patients (ssn))",
        ],
        "foreign key: constraint beds_id_fkey on table beds": [
            "CREATE UNIQUE INDEX by_id ON patients (id) INCLUDE (ssn)",
            "ALTER TABLE patients ADD CONSTRAINT by_id UNIQUE USING INDEX by_id",
            "CREATE TABLE beds (id integer REFERENCES patients (id))",
            "ALTER TABLE patients DROP CONSTRAINT patients_pkey CASCADE",
            "ALTER TABLE beds DROP CONSTRAINT IF EXISTS beds_id_fkey",
            "ALTER TABLE beds ADD FOREIGN KEY (id) REFERENCES patients (id)",
            "ALTER TABLE patients ADD PRIMARY KEY (id)",
        ],
        "the check constraint ck on table patients needs plain values": [
            "ALTER TABLE patients ADD CONSTRAINT ck CHECK (ssn LIKE '0%')"
        ],
        "the index public.pattern has an operator": [
            "CREATE INDEX pattern ON patients (ssn text_pattern_ops)"
        ],
        "the index public.collated has an operator": ['CREATE INDEX collated ON patients (ssn COLLATE "C")'],
        "the index public.expr computes with its value": ["CREATE INDEX expr ON patients (lower(ssn))"],
        "the index public.part computes with its value": [
            "CREATE INDEX part ON patients (id) WHERE ssn > 'a'"
        ],
        "the statistics public.exprs compute": [
            "CREATE STATISTICS exprs ON clinic_id, lower(ssn) FROM patients"
        ],
    },
    "mariadb": {
        "view .*v reads it": ["CREATE VIEW v AS SELECT id, ssn FROM patients"],
        "the column lowered computes with it": [
            "ALTER TABLE patients ADD lowered varchar(20) AS (lower(ssn)) VIRTUAL"
        ],
        "the column copied computes with it": ["ALTER TABLE patients ADD copied varchar(20) DEFAULT (ssn)"],
        "the check constraint ck needs plain values": [
            "ALTER TABLE patients ADD CONSTRAINT ck CHECK (ssn <> 'x')"
        ],
        "the foreign key fk of .*visits points at it": [
            "ALTER TABLE patients ADD UNIQUE INDEX u (ssn)",
            "CREATE TABLE visits (ssn varchar(11), "
            "CONSTRAINT fk FOREIGN KEY (ssn) REFERENCES patients (ssn))",
        ],
        "the index prefix is on the first 5 characters": ["CREATE INDEX prefix ON patients (ssn(5))"],
        "the index words is of kind FULLTEXT": ["CREATE FULLTEXT INDEX words ON patients (ssn)"],
    },
    "sqlite": {
        "view v reads it": ["CREATE VIEW v AS SELECT id, SSN FROM patients"],
        "view all_of_it reads it": ["CREATE VIEW all_of_it AS SELECT * FROM patients"],
        "the generated column lowered computes with it": [
            "ALTER TABLE patients ADD lowered text AS (lower(ssn))"
        ],
        "a foreign key of visits points at it": [
            "CREATE UNIQUE INDEX u ON patients (ssn)",
            "CREATE TABLE visits (ssn varchar(11) REFERENCES patients (ssn))",
        ],
        "the index expr computes with its value": ["CREATE INDEX expr ON patients (lower(ssn))"],
        "the index part computes with its value": ["CREATE INDEX part ON patients (id) WHERE ssn > 'a'"],
        "the trigger audits fires by it": [
            "CREATE TRIGGER audits AFTER UPDATE OF ssn ON patients BEGIN SELECT 1; END"
        ],
        "the trigger whenever fires by it": [
            "CREATE TRIGGER whenever AFTER UPDATE ON patients WHEN new.ssn = 'x' BEGIN SELECT 1; END"
        ],
    },
}

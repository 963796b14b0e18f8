//! Opens connections to the store's file and brings its schema up to date.
//!
//! Migrations are numbered files applied in order, each in a transaction with its `user_version`; a file
//! of a newer ragq, or of another program, is refused before anything is written.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::OpenError;

/// Marks the file as ragq's job store (`PRAGMA application_id`): "ragq".
const APPLICATION_ID: i64 = 0x7261_6771;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_documents.sql"),
    include_str!("migrations/0003_replays.sql"),
    include_str!("migrations/0004_cells.sql"),
    include_str!("migrations/0005_counting.sql"),
    include_str!("migrations/0006_audit_history.sql"),
    include_str!("migrations/0007_usage.sql"),
    include_str!("migrations/0008_origin.sql"),
    include_str!("migrations/0009_deletions.sql"),
    include_str!("migrations/0010_audit_once.sql"),
    include_str!("migrations/0011_queued_deletions.sql"),
];

/// Statements kept prepared per connection: more than there are.
const STATEMENTS: usize = 128;

/// The connection of the writer, with the newest schema.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(sqlite)?;
    check(&connection, path)?;
    // `temp_store`: statement journals stay in memory. `fullfsync`: a sync reaches the disk on macOS too.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;
             PRAGMA busy_timeout = 1000; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4000;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(sqlite)?;
    migrate(&connection).map_err(sqlite)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// A connection that only reads; the file must be there.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(|source| {
            match source.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
                _ => OpenError::Sqlite { path: path.to_owned(), source },
            }
        })
    };
    let found = number("user_version")?;
    let tables = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })?;
    if tables > 0 && number("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    match usize::try_from(found) {
        Ok(found) if found > MIGRATIONS.len() => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::queue::sqlite::sql;

    #[test]
    fn every_statement_fits_the_schema_and_none_scans_all_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("jobs.db")).unwrap();
        for (name, text) in sql::ALL {
            let explained = format!("EXPLAIN QUERY PLAN {text}");
            let mut statement = connection.prepare(&explained).unwrap_or_else(|error| panic!("{name}: {error}"));
            for index in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(index, 1).unwrap();
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let step: String = row.get("detail").unwrap();
                let whole = ["jobs", "events", "attempts", "documents", "turns", "replays_waiting", "audit"]
                    .iter()
                    .any(|table| step == format!("SCAN {table}"));
                assert!(!whole, "{name} scans: {step}");
                assert!(!step.contains("TEMP B-TREE FOR ORDER BY") || *name == "dead_letter_groups", "{name} sorts");
            }
        }
    }

    #[test]
    fn looking_for_deletions_reads_none_that_are_done_and_no_other_ingestions() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("jobs.db")).unwrap();
        let jobs = "WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000)
            INSERT INTO jobs (id, tenant, kind, priority, status, place, max_attempts, bytes, created_at, payload, deletes)
            SELECT n, 'default', 'ingest', 'low', iif(n % 2, 'completed', 'queued'), n, 5, 0, 0, '{}', n % 2 FROM numbers;
            INSERT INTO changes (job, tenant, document_id, version, data)
            SELECT job, tenant, id, 1, json_object('change', iif(deletes, 'delete', 'put')) FROM jobs";
        connection.execute_batch(jobs).unwrap();
        let steps = |expected: &[i64]| {
            let mut statement = connection.prepare(sql::FETCH_DELETIONS).unwrap();
            let found = statement.query_map([64], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(found.collect::<Result<Vec<_>, _>>().unwrap(), expected);
            statement.get_status(StatementStatus::VmStep)
        };
        let idle = steps(&[]);
        assert!(idle < 100, "{idle} steps to find nothing");
        connection.execute_batch("UPDATE jobs SET status = 'queued' WHERE job IN (7, 1001)").unwrap();
        let two = steps(&[7, 1001]);
        assert!(two < 200, "{two} steps to find two");
    }

    #[test]
    fn a_newer_file_and_a_foreign_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let newer = folder.path().join("newer.db");
        drop(open_writer(&newer).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open_writer(&newer), Err(OpenError::Newer { found: 99, .. })));
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(matches!(open_writer(&foreign), Err(OpenError::Foreign { .. })));
        let text = folder.path().join("text.db");
        std::fs::write(&text, "this is no database at all, only text that is long enough").unwrap();
        assert!(matches!(open_writer(&text), Err(OpenError::Foreign { .. })));
    }
}

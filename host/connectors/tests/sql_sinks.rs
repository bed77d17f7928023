//! The contract of the SQL sinks, and of what look-ups ask, held by a SQLite file and by a real PostgreSQL server alike.
//!
//! PostgreSQL is the server that `WEIR_TEST_POSTGRES` names; each test has a schema of its own there.

#[path = "sql/cases.rs"]
mod cases;
#[path = "sql/lookups.rs"]
mod lookups;
#[path = "sql/postgres_only.rs"]
mod postgres_only;
#[path = "sql/rows.rs"]
mod rows;
#[path = "sql/targets.rs"]
mod targets;

/// Every case as a test of each database.
macro_rules! on_every_database {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $case() { crate::cases::$case(&crate::targets::SqliteFile::new()) })+
        }
        mod postgres {
            $(#[test] fn $case() { crate::cases::$case(&crate::targets::PostgresSchema::new()) })+
        }
    };
}

on_every_database!(
    a_crash_between_any_two_calls_loses_and_doubles_nothing,
    what_the_target_holds_is_seen_without_taking_it_over,
    the_older_of_two_instances_is_fenced_and_changes_nothing,
    the_last_operation_on_a_key_counts,
    an_append_table_takes_every_row_and_refuses_updates,
    every_type_is_stored_exactly,
    rows_that_break_a_constraint_are_rejected_and_their_neighbours_stay,
    a_refused_operation_leaves_its_key_to_the_one_before,
    rejects_are_remembered_until_they_are_forgotten,
    a_table_of_which_every_row_is_refused_stops_the_sink,
    hostile_names_never_reach_the_database,
    without_ddl_what_is_missing_is_named,
    a_table_of_other_columns_is_refused,
    a_target_that_was_lost_is_left_alone,
    large_epochs_take_many_statements,
);

/// As above, of what look-ups ask.
macro_rules! lookups_on_every_database {
    ($($case:ident),+ $(,)?) => {
        mod sqlite_lookups {
            $(#[test] fn $case() { crate::lookups::$case(&crate::targets::SqliteFile::new()) })+
        }
        mod postgres_lookups {
            $(#[test] fn $case() { crate::lookups::$case(&crate::targets::PostgresSchema::new()) })+
        }
    };
}

lookups_on_every_database!(
    each_key_is_answered_with_its_own_rows,
    of_a_key_without_columns_it_is_answered_how_many_rows_there_are,
    what_is_not_there_is_named,
    names_that_are_no_names_never_reach_the_database,
);

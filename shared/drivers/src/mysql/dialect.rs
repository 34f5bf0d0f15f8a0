//! Every statement and every column name that differs between engines, in one table: MariaDB | MySQL.
//!
//! No cell is empty: what an engine has not is [`Cell::Unsupported`], with the reason, and `rs-dbsync writes status` says
//! so by name. tests/contract/dialect.rs tries each cell on the real server.

use rs_contract::{Error, Kind, Result};

/// What an engine may not have.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    /// How it says it.
    Is(&'static str),
    /// It has nothing of the kind.
    Unsupported {
        /// How others say it; this engine refuses it.
        refused: &'static str,
        /// Why it is not missed.
        why: &'static str,
    },
}

impl Cell {
    /// The statement, where there is one.
    pub fn get(self) -> Option<&'static str> {
        match self {
            Cell::Is(text) => Some(text),
            Cell::Unsupported { .. } => None,
        }
    }
}

/// What one engine calls things.
#[derive(Debug)]
pub struct Dialect {
    /// The engine's name, for messages.
    pub engine: &'static str,
    /// Something that only this server has.
    pub uuid: &'static str,
    /// Position of its own binary log.
    pub own_position: &'static str,
    /// All that ever went into its own binary log.
    pub own_state: &'static str,
    /// Whether what a slave applies goes into its own binary log too.
    pub logs_applied: &'static str,
    /// Position applied as a slave.
    pub applied: &'static str,
    /// File and offset of the binary log: columns `File` and `Position`.
    pub log_status: &'static str,
    /// Waits for a position: `{position}`, `{seconds}`.
    pub wait: &'static str,
    /// The one answer that means "applied".
    pub wait_applied: &'static str,
    /// All channels of a slave.
    pub channels: &'static str,
    /// Their columns.
    pub columns: Columns,
    /// What a slave is told to do with events that their master has marked for being passed over; `REPLICATE`: nothing.
    pub marked: Cell,
    /// What a slave is told to pass over without a word: errors, rows that do not fit, what of a value does not fit, a
    /// number of events. `OFF`: nothing.
    pub skips: &'static str,
    /// Whether writes are off: 1 or 0.
    pub read_only: &'static str,
    /// Writes off.
    pub set_read_only: &'static str,
    /// Writes on.
    pub clear_read_only: &'static str,
    /// Lets accounts with the privilege write while all others may not, where `set_read_only` stops those too.
    pub lower: Cell,
    /// Whether it is so: 1 or 0.
    pub is_lowered: Cell,
    /// Lines of an option file that keep writes off over a restart.
    pub read_only_options: &'static str,
    /// Lines of an option file that keep replication stopped over a restart.
    pub held_options: &'static str,
    /// Lines of an option file that make a server begin as a slave, and as a master.
    pub role_options: (&'static str, &'static str),
    /// Makes a statement wait at most a second for the locks of others.
    pub short_lock_wait: &'static str,
    /// Accounts that may write though writes are off: columns `account_user`, `account_host`, `because`.
    pub may_write: &'static str,
    /// Accounts that may call what runs with the rights of another: columns `account_user`, `account_host`, `definer`,
    /// `routine` (what it is, and its name). In every schema: what the server ships has definers that may not write.
    pub lent: &'static str,
    /// Which account holds which role: columns `account_user`, `account_host`, `role`.
    pub roles: &'static str,
    /// Whether a role has a host part, as any account has, and is told from one by being granted.
    pub roles_have_hosts: bool,
    /// Who locks what, as far as the engine tells: columns `id`, `what`. With what makes it able to tell before and
    /// after, where it has to be loaded.
    pub lock_holders: LockHolders,
    /// Ends a replication connection's threads, all channels.
    pub stop: &'static str,
    /// Ends the receivers only.
    pub stop_receiver: &'static str,
    /// Starts replication.
    pub start: &'static str,
    /// Only the host of the source: `{host}`.
    pub change_host: &'static str,
    /// The whole source: `{host}`, `{port}`, `{user}`, `{password}`.
    pub change_source: &'static str,
    /// Forgets the source for good.
    pub forget: &'static str,
    /// Says where a restored copy stands: `{position}`.
    pub set_applied: &'static str,
    /// Events that replication brought and that are therefore off: columns `event_schema`, `event_name`.
    pub foreign_events: &'static str,
    /// Slaves that registered themselves here: columns `Server_id`, `Host`, in whatever case.
    pub followers: &'static str,
    /// Percent done of a running statement: `{id}`; column `percent`.
    pub progress: &'static str,
    /// Indexes of a schema, as they are defined: `{schema}`.
    pub indexes: &'static str,
    /// CHECK constraints of a schema: `{schema}`.
    pub checks: &'static str,
    /// Types of what `information_schema.tables` has rows of: a list of texts.
    pub stored: &'static str,
    /// How fast the binary log grew since the server started, bytes a second.
    pub log_growth: &'static str,
    /// A role that only some engines know: the sessions' own threads of the server.
    pub server_threads: &'static [&'static str],
}

/// Where an engine's lock holders are read.
#[derive(Debug)]
pub struct LockHolders {
    /// Loaded first, when it is not there.
    pub load: Cell,
    /// Unloaded again.
    pub unload: Cell,
    /// The question.
    pub ask: &'static str,
}

/// Column names of a channel.
#[derive(Debug)]
pub struct Columns {
    /// Name of the channel.
    pub name: &'static str,
    /// Source's host.
    pub host: &'static str,
    /// Source's port.
    pub port: &'static str,
    /// Source's server id.
    pub server_id: &'static str,
    /// Receiver.
    pub io: &'static str,
    /// Applier.
    pub sql: &'static str,
    /// Seconds behind.
    pub behind: &'static str,
    /// Delay.
    pub delay: &'static str,
    /// Errors: number and text, each.
    pub errors: [(&'static str, &'static str); 2],
    /// Filters that must be empty.
    pub filters: &'static [&'static str],
    /// UNTIL.
    pub until: &'static str,
    /// Whether GTIDs are used, and the values that mean yes.
    pub gtid: (&'static str, &'static [&'static str]),
    /// Position received.
    pub received: &'static str,
}

/// MariaDB 10.11 and later.
pub static MARIADB: Dialect = Dialect {
    engine: "MariaDB",
    uuid: "SELECT @@server_uid",
    own_position: "SELECT @@gtid_binlog_pos",
    own_state: "SELECT @@gtid_binlog_state",
    logs_applied: "SELECT @@global.log_slave_updates",
    applied: "SELECT @@gtid_slave_pos",
    log_status: "SHOW MASTER STATUS",
    wait: "SELECT MASTER_GTID_WAIT({position}, {seconds})",
    wait_applied: "0",
    channels: "SHOW ALL SLAVES STATUS",
    columns: Columns {
        name: "Connection_name",
        host: "Master_Host",
        port: "Master_Port",
        server_id: "Master_Server_Id",
        io: "Slave_IO_Running",
        sql: "Slave_SQL_Running",
        behind: "Seconds_Behind_Master",
        delay: "SQL_Delay",
        errors: [("Last_IO_Errno", "Last_IO_Error"), ("Last_SQL_Errno", "Last_SQL_Error")],
        filters: &[
            "Replicate_Do_DB",
            "Replicate_Ignore_DB",
            "Replicate_Do_Table",
            "Replicate_Ignore_Table",
            "Replicate_Wild_Do_Table",
            "Replicate_Wild_Ignore_Table",
            "Replicate_Ignore_Server_Ids",
            "Replicate_Rewrite_DB",
            "Replicate_Do_Domain_Ids",
            "Replicate_Ignore_Domain_Ids",
        ],
        until: "Until_Condition",
        gtid: ("Using_Gtid", &["Slave_Pos", "Current_Pos"]),
        received: "Gtid_IO_Pos",
    },
    marked: Cell::Is("SELECT @@global.replicate_events_marked_for_skip"),
    skips: "SELECT COALESCE(NULLIF(CONCAT_WS(', ', NULLIF(@@slave_skip_errors, 'OFF'), \
            IF(@@global.slave_type_conversions = '', NULL, \
            CONCAT('slave_type_conversions=', @@global.slave_type_conversions)), \
            IF(@@global.slave_exec_mode = 'STRICT', NULL, CONCAT('slave_exec_mode=', @@global.slave_exec_mode)), \
            IF(@@global.sql_slave_skip_counter = 0, NULL, \
            CONCAT('sql_slave_skip_counter=', @@global.sql_slave_skip_counter))), ''), 'OFF') AS skips",
    read_only: "SELECT @@global.read_only",
    set_read_only: "SET GLOBAL read_only = 1",
    clear_read_only: "SET GLOBAL read_only = 0",
    lower: Cell::Unsupported {
        refused: "SET GLOBAL super_read_only = 0",
        why: "read_only stops no account with READ ONLY ADMIN, and a migration needs no more",
    },
    is_lowered: Cell::Unsupported {
        refused: "SELECT @@global.super_read_only",
        why: "there is one lock, and it is never lowered",
    },
    read_only_options: "read_only = 1\nevent_scheduler = OFF\n",
    held_options: "read_only = 1\nskip-slave-start\n",
    role_options: ("read_only = 1\n", "read_only = 0\n"),
    short_lock_wait: "SET SESSION lock_wait_timeout = 1",
    // bit 33 is READ ONLY ADMIN: SUPER alone is refused like anybody else since 10.11
    may_write: "SELECT User AS account_user, Host AS account_host, 'READ ONLY ADMIN' AS because \
                FROM mysql.global_priv \
                WHERE CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) & 8589934592 <> 0",
    // bit 18 is EXECUTE. A procedure writes with its definer's rights, in a package with those of the body; what a
    // function writes is judged by who calls it: seen on 10.11
    lent: "SELECT DISTINCT g.User AS account_user, g.Host AS account_host, r.DEFINER AS definer, \
         CONCAT(LOWER(r.ROUTINE_TYPE), ' ', r.ROUTINE_SCHEMA, '.', r.ROUTINE_NAME) AS routine \
         FROM information_schema.routines r JOIN ( \
         SELECT User, Host, '%' AS Db, '' AS Routine FROM mysql.global_priv \
         WHERE CAST(COALESCE(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) & 262144 <> 0 \
         UNION ALL SELECT User, Host, Db, '' FROM mysql.db WHERE Execute_priv = 'Y' \
         UNION ALL SELECT User, Host, Db, Routine_name FROM mysql.procs_priv \
         WHERE Routine_type IN ('PROCEDURE', 'PACKAGE BODY') AND FIND_IN_SET('Execute', Proc_priv) > 0) g \
         ON r.ROUTINE_SCHEMA LIKE g.Db AND g.Routine IN ('', r.ROUTINE_NAME) \
         WHERE r.ROUTINE_TYPE IN ('PROCEDURE', 'PACKAGE BODY') AND r.SECURITY_TYPE = 'DEFINER'",
    roles: "SELECT User AS account_user, Host AS account_host, Role AS role FROM mysql.roles_mapping",
    roles_have_hosts: false,
    lock_holders: LockHolders {
        load: Cell::Is("INSTALL SONAME 'metadata_lock_info'"),
        unload: Cell::Is("UNINSTALL SONAME 'metadata_lock_info'"),
        ask: "SELECT THREAD_ID AS id, CONCAT(LOCK_MODE, ' on ', LOCK_TYPE, ' ', TABLE_SCHEMA, '.', TABLE_NAME) \
              AS what FROM information_schema.metadata_lock_info WHERE LOCK_TYPE <> 'User lock'",
    },
    stop: "STOP ALL SLAVES",
    stop_receiver: "STOP SLAVE IO_THREAD",
    start: "START SLAVE",
    change_host: "CHANGE MASTER TO MASTER_HOST = {host}",
    change_source: "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, \
                    MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
    forget: "RESET SLAVE ALL",
    set_applied: "SET GLOBAL gtid_slave_pos = {position}",
    foreign_events: "SELECT EVENT_SCHEMA AS event_schema, EVENT_NAME AS event_name \
                     FROM information_schema.events WHERE STATUS = 'SLAVESIDE_DISABLED'",
    followers: "SHOW REPLICA HOSTS",
    progress: "SELECT IF(MAX_STAGE > 0, (GREATEST(STAGE, 1) - 1 + PROGRESS / 100) / MAX_STAGE * 100, NULL) AS percent \
         FROM information_schema.processlist WHERE ID = {id}",
    indexes: "SELECT TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE, \
              COLLATION, INDEX_COMMENT, IGNORED \
              FROM information_schema.statistics WHERE TABLE_SCHEMA = {schema} ORDER BY 1, 2, 3",
    checks: "SELECT TABLE_NAME, CONSTRAINT_NAME, LEVEL, CHECK_CLAUSE FROM information_schema.check_constraints \
             WHERE CONSTRAINT_SCHEMA = {schema} ORDER BY 1, 2, 3",
    stored: "'BASE TABLE', 'SYSTEM VERSIONED'",
    log_growth: "SELECT MAX(IF(VARIABLE_NAME = 'BINLOG_BYTES_WRITTEN', VARIABLE_VALUE, 0)) \
                 / GREATEST(MAX(IF(VARIABLE_NAME = 'UPTIME', VARIABLE_VALUE, 0)), 3600) AS rate \
                 FROM information_schema.global_status",
    server_threads: &["system user", "event_scheduler"],
};

/// MySQL 9, by documentation and by what was measured of its statements.
pub static MYSQL: Dialect = Dialect {
    engine: "MySQL",
    uuid: "SELECT @@server_uuid",
    own_position: "SELECT @@gtid_executed",
    own_state: "SELECT @@gtid_executed",
    logs_applied: "SELECT @@global.log_replica_updates",
    applied: "SELECT @@gtid_executed",
    log_status: "SHOW BINARY LOG STATUS",
    wait: "SELECT WAIT_FOR_EXECUTED_GTID_SET({position}, {seconds})",
    wait_applied: "0",
    channels: "SHOW REPLICA STATUS",
    columns: Columns {
        name: "Channel_Name",
        host: "Source_Host",
        port: "Source_Port",
        server_id: "Source_Server_Id",
        io: "Replica_IO_Running",
        sql: "Replica_SQL_Running",
        behind: "Seconds_Behind_Source",
        delay: "SQL_Delay",
        errors: [("Last_IO_Errno", "Last_IO_Error"), ("Last_SQL_Errno", "Last_SQL_Error")],
        filters: &[
            "Replicate_Do_DB",
            "Replicate_Ignore_DB",
            "Replicate_Do_Table",
            "Replicate_Ignore_Table",
            "Replicate_Wild_Do_Table",
            "Replicate_Wild_Ignore_Table",
            "Replicate_Ignore_Server_Ids",
            "Replicate_Rewrite_DB",
        ],
        until: "Until_Condition",
        gtid: ("Auto_Position", &["1"]),
        received: "Retrieved_Gtid_Set",
    },
    marked: Cell::Unsupported {
        refused: "SELECT @@global.replicate_events_marked_for_skip",
        why: "a master marks no events for being passed over",
    },
    skips: "SELECT COALESCE(NULLIF(CONCAT_WS(', ', NULLIF(@@replica_skip_errors, 'OFF'), \
            IF(@@global.replica_type_conversions = '', NULL, \
            CONCAT('replica_type_conversions=', @@global.replica_type_conversions)), \
            IF(@@global.replica_exec_mode = 'STRICT', NULL, \
            CONCAT('replica_exec_mode=', @@global.replica_exec_mode)), \
            IF(@@global.sql_replica_skip_counter = 0, NULL, \
            CONCAT('sql_replica_skip_counter=', @@global.sql_replica_skip_counter))), ''), 'OFF') AS skips",
    read_only: "SELECT @@global.super_read_only",
    set_read_only: "SET GLOBAL super_read_only = 1",
    clear_read_only: "SET GLOBAL read_only = 0",
    lower: Cell::Is("SET GLOBAL super_read_only = 0"),
    is_lowered: Cell::Is("SELECT @@global.read_only = 1 AND @@global.super_read_only = 0"),
    read_only_options: "super_read_only = 1\nevent_scheduler = OFF\n",
    held_options: "super_read_only = 1\nskip-replica-start\n",
    role_options: ("super_read_only = 1\n", "super_read_only = 0\nread_only = 0\n"),
    short_lock_wait: "SET SESSION lock_wait_timeout = 1",
    // super_read_only stops those too, but not while a migration has it lowered: seen on 9.7
    lent: "SELECT DISTINCT g.User AS account_user, g.Host AS account_host, r.DEFINER AS definer, \
           CONCAT(LOWER(r.ROUTINE_TYPE), ' ', r.ROUTINE_SCHEMA, '.', r.ROUTINE_NAME) AS routine \
           FROM information_schema.routines r JOIN ( \
           SELECT User, Host, '%' AS Db, '' AS Routine FROM mysql.user WHERE Execute_priv = 'Y' \
           UNION ALL SELECT User, Host, Db, '' FROM mysql.db WHERE Execute_priv = 'Y' \
           UNION ALL SELECT User, Host, Db, Routine_name FROM mysql.procs_priv \
           WHERE Routine_type = 'PROCEDURE' AND FIND_IN_SET('Execute', Proc_priv) > 0) g \
           ON r.ROUTINE_SCHEMA COLLATE utf8mb3_general_ci LIKE g.Db COLLATE utf8mb3_general_ci \
           AND g.Routine COLLATE utf8mb3_general_ci IN ('', r.ROUTINE_NAME COLLATE utf8mb3_general_ci) \
           WHERE r.ROUTINE_TYPE = 'PROCEDURE' AND r.SECURITY_TYPE = 'DEFINER'",
    // super_read_only stops all; these may switch it off, or write while a migration has it lowered. Read from the
    // tables: information_schema shows an account without privileges only itself, and no error
    may_write: "SELECT User AS account_user, Host AS account_host, 'SUPER' AS because FROM mysql.user \
                WHERE Super_priv = 'Y' UNION ALL \
                SELECT USER, HOST, PRIV FROM mysql.global_grants \
                WHERE PRIV IN ('SYSTEM_VARIABLES_ADMIN', 'CONNECTION_ADMIN')",
    // a mandatory role is everybody's, and in no table of grants
    roles: "SELECT TO_USER AS account_user, TO_HOST AS account_host, FROM_USER AS role FROM mysql.role_edges \
            UNION SELECT u.User, u.Host, r.User FROM mysql.user u JOIN mysql.user r \
            ON FIND_IN_SET(CONCAT(r.User, '@', r.Host), \
            REGEXP_REPLACE(@@global.mandatory_roles, '[`\\'\" ]', '')) > 0 \
            OR r.Host = '%' AND FIND_IN_SET(r.User, \
            REGEXP_REPLACE(@@global.mandatory_roles, '[`\\'\" ]', '')) > 0",
    roles_have_hosts: true,
    lock_holders: LockHolders {
        load: Cell::Unsupported {
            refused: "INSTALL SONAME 'metadata_lock_info'",
            why: "performance_schema.metadata_locks is always there",
        },
        unload: Cell::Unsupported {
            refused: "UNINSTALL SONAME 'metadata_lock_info'",
            why: "performance_schema.metadata_locks is always there",
        },
        ask: "SELECT t.PROCESSLIST_ID AS id, CONCAT(l.LOCK_TYPE, ' on ', l.OBJECT_TYPE, ' ', \
              COALESCE(l.OBJECT_SCHEMA, ''), '.', COALESCE(l.OBJECT_NAME, '')) AS what \
              FROM performance_schema.metadata_locks l JOIN performance_schema.threads t \
              ON t.THREAD_ID = l.OWNER_THREAD_ID WHERE l.LOCK_STATUS = 'GRANTED' \
              AND l.OBJECT_TYPE <> 'USER LEVEL LOCK' AND t.PROCESSLIST_ID IS NOT NULL",
    },
    stop: "STOP REPLICA",
    stop_receiver: "STOP REPLICA IO_THREAD",
    start: "START REPLICA",
    change_host: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}",
    // by itself it gives up after ten attempts: a master that starts slowly would be left for good
    change_source: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, \
                    SOURCE_USER = {user}, SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, \
                    SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 100000, GET_SOURCE_PUBLIC_KEY = 1",
    forget: "RESET REPLICA ALL",
    set_applied: "SET GLOBAL gtid_purged = {position}",
    foreign_events: "SELECT EVENT_SCHEMA AS event_schema, EVENT_NAME AS event_name \
                     FROM information_schema.events WHERE STATUS = 'REPLICA_SIDE_DISABLED'",
    followers: "SHOW REPLICAS",
    progress: "SELECT IF(WORK_ESTIMATED > 0, WORK_COMPLETED / WORK_ESTIMATED * 100, NULL) AS percent \
         FROM performance_schema.events_stages_current s JOIN performance_schema.threads t \
         USING (THREAD_ID) WHERE t.PROCESSLIST_ID = {id}",
    indexes: "SELECT TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE, \
              COLLATION, INDEX_COMMENT, IS_VISIBLE, EXPRESSION \
              FROM information_schema.statistics WHERE TABLE_SCHEMA = {schema} ORDER BY 1, 2, 3",
    checks: "SELECT t.TABLE_NAME, t.CONSTRAINT_NAME, t.ENFORCED, c.CHECK_CLAUSE \
             FROM information_schema.table_constraints t JOIN information_schema.check_constraints c \
             ON c.CONSTRAINT_SCHEMA = t.CONSTRAINT_SCHEMA AND c.CONSTRAINT_NAME = t.CONSTRAINT_NAME \
             WHERE t.CONSTRAINT_SCHEMA = {schema} AND t.CONSTRAINT_TYPE = 'CHECK' ORDER BY 1, 2",
    stored: "'BASE TABLE'",
    log_growth: "SELECT (SELECT SUM(SUM_NUMBER_OF_BYTES_WRITE) FROM \
                 performance_schema.file_summary_by_event_name WHERE EVENT_NAME = 'wait/io/file/sql/binlog') \
                 / GREATEST((SELECT VARIABLE_VALUE FROM performance_schema.global_status \
                 WHERE VARIABLE_NAME = 'Uptime'), 3600) AS rate",
    server_threads: &["system user", "event_scheduler", "mysql.session"],
};

impl Dialect {
    /// Every cell by its name, so that none can be forgotten: a new one does not compile before it is here.
    pub fn cells(&self) -> Vec<(&'static str, Cell)> {
        let Dialect {
            engine: _,
            uuid,
            own_position,
            own_state,
            logs_applied,
            applied,
            log_status,
            wait,
            wait_applied,
            channels,
            columns,
            marked,
            skips,
            read_only,
            set_read_only,
            clear_read_only,
            lower,
            is_lowered,
            read_only_options,
            held_options,
            role_options: (slave_options, master_options),
            short_lock_wait,
            may_write,
            lent,
            roles,
            roles_have_hosts: _,
            lock_holders: LockHolders { load, unload, ask },
            stop,
            stop_receiver,
            start,
            change_host,
            change_source,
            forget,
            set_applied,
            foreign_events,
            followers,
            progress,
            indexes,
            checks,
            stored: _,
            log_growth,
            server_threads,
        } = self;
        let Columns {
            name,
            host,
            port,
            server_id,
            io,
            sql,
            behind,
            delay,
            errors,
            filters,
            until,
            gtid: (gtid, gtid_values),
            received,
        } = columns;
        let mut cells = vec![
            ("uuid", Cell::Is(uuid)),
            ("own_position", Cell::Is(own_position)),
            ("own_state", Cell::Is(own_state)),
            ("logs_applied", Cell::Is(logs_applied)),
            ("applied", Cell::Is(applied)),
            ("log_status", Cell::Is(log_status)),
            ("wait", Cell::Is(wait)),
            ("wait_applied", Cell::Is(wait_applied)),
            ("channels", Cell::Is(channels)),
            ("marked", *marked),
            ("skips", Cell::Is(skips)),
            ("read_only", Cell::Is(read_only)),
            ("set_read_only", Cell::Is(set_read_only)),
            ("clear_read_only", Cell::Is(clear_read_only)),
            ("lower", *lower),
            ("is_lowered", *is_lowered),
            ("read_only_options", Cell::Is(read_only_options)),
            ("held_options", Cell::Is(held_options)),
            ("slave_options", Cell::Is(slave_options)),
            ("master_options", Cell::Is(master_options)),
            ("short_lock_wait", Cell::Is(short_lock_wait)),
            ("may_write", Cell::Is(may_write)),
            ("lent", Cell::Is(lent)),
            ("roles", Cell::Is(roles)),
            ("lock_holders.load", *load),
            ("lock_holders.ask", Cell::Is(ask)),
            ("lock_holders.unload", *unload),
            ("stop_receiver", Cell::Is(stop_receiver)),
            ("stop", Cell::Is(stop)),
            ("start", Cell::Is(start)),
            ("change_host", Cell::Is(change_host)),
            ("forget", Cell::Is(forget)),
            ("set_applied", Cell::Is(set_applied)),
            ("change_source", Cell::Is(change_source)),
            ("foreign_events", Cell::Is(foreign_events)),
            ("followers", Cell::Is(followers)),
            ("progress", Cell::Is(progress)),
            ("indexes", Cell::Is(indexes)),
            ("checks", Cell::Is(checks)),
            ("log_growth", Cell::Is(log_growth)),
        ];
        let of_a_channel =
            [name, host, port, server_id, io, sql, behind, delay, until, gtid, received];
        let of_errors = errors.iter().flat_map(|(number, text)| [number, text]);
        let all = of_a_channel.into_iter().chain(of_errors).chain(filters.iter());
        cells.extend(all.map(|column| ("columns", Cell::Is(column))));
        cells.extend(gtid_values.iter().map(|value| ("gtid_values", Cell::Is(value))));
        cells.extend(server_threads.iter().map(|user| ("server_threads", Cell::Is(user))));
        cells
    }
}

/// Chooses by what `SELECT VERSION()` says: a client's own guess is wrong on MariaDB.
pub fn choose(version: &str) -> Result<&'static Dialect> {
    let of = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split(['.', '-']);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    let number = of(version).ok_or_else(|| unknown(version))?;
    if version.contains("MariaDB") {
        return if number >= (10, 5) { Ok(&MARIADB) } else { Err(unknown(version)) };
    }
    if number >= (8, 4) { Ok(&MYSQL) } else { Err(unknown(version)) }
}

fn unknown(version: &str) -> Error {
    Error::new(Kind::Declined, format!("the engine {version:?} is not known"))
        .hint("MariaDB 10.11 and later, MySQL 9 and its neighbours")
}

/// A text as a literal. Our sessions have `NO_BACKSLASH_ESCAPES` off, so both escapes are needed.
pub fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A name (schema, table, event) as an identifier.
pub fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// Puts values in their places: `{host}` and the like. Values are not looked at again.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        out.push_str(before);
        let close = after.find('}').unwrap_or(after.len() - 1);
        let key = &after[1..close.max(1)];
        match values.iter().find(|(known, _)| *known == key) {
            Some((_, value)) => out.push_str(value),
            None => out.push_str(&after[..=close]),
        }
        rest = &after[close + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_chooses_the_dialect() {
        for (version, engine) in [
            ("10.11.19-MariaDB-0+deb12u1-log", "MariaDB"),
            ("11.8.3-MariaDB", "MariaDB"),
            ("9.7.4", "MySQL"),
            ("8.4.0-debug", "MySQL"),
        ] {
            assert_eq!(choose(version).unwrap().engine, engine);
        }
        for version in ["5.5.5-10.1-MariaDB", "8.0.36", "", "PostgreSQL"] {
            choose(version).unwrap_err();
        }
    }

    #[test]
    fn nothing_is_pasted_unescaped() {
        assert_eq!(literal("a'b\\c"), "'a''b\\\\c'");
        assert_eq!(name("a`b"), "`a``b`");
        let sql = fill(
            MARIADB.change_source,
            &[("host", "'h{port}'"), ("port", "1"), ("user", "'u'"), ("password", "'{user}'")],
        );
        assert!(sql.contains("MASTER_HOST = 'h{port}', MASTER_PORT = 1"), "{sql}");
        assert!(sql.contains("MASTER_PASSWORD = '{user}'"), "{sql}");
    }

    #[test]
    fn every_place_in_a_statement_is_known() {
        let known = ["position", "seconds", "host", "port", "user", "password", "id", "schema"];
        for dialect in [&MARIADB, &MYSQL] {
            for template in [
                dialect.wait,
                dialect.change_host,
                dialect.change_source,
                dialect.set_applied,
                dialect.progress,
                dialect.indexes,
                dialect.checks,
            ] {
                for part in template.split('{').skip(1) {
                    let key = part.split('}').next().unwrap_or_default();
                    assert!(known.contains(&key), "{key} in {template}");
                }
            }
        }
    }
}

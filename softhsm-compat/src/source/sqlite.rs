//! SoftHSM's other store: an SQLite database for each token.
//!
//! What lives here: the tables of that database. Object 1 is what the token says of itself; each kind of value has a table. What an
//! array of attributes or a set of mechanisms holds is packed as the memory of a 64-bit machine has it.
//! What must never live here: what an attribute means; a statement that writes.
//! Who calls it: `source`.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use strongroom_wire::ck::AttributeType;
use zeroize::Zeroizing;

use super::{
    Attributes, Damaged, Identity, OBJECT_ATTRIBUTES_MAX, OBJECT_BYTES_MAX, SourceError,
    StoredToken, StoredValue, whole,
};

/// The file of the database.
pub(super) const DATABASE_FILE: &str = "sqlite3.db";
/// The object that is the token itself.
const TOKEN_ROW: i64 = 1;

/// Reads a token.
pub(super) fn token(directory: &Path) -> Result<StoredToken, SourceError> {
    let path = directory.join(DATABASE_FILE);
    let malformed = |why: String| SourceError::Malformed {
        path: path.clone(),
        why,
    };
    // To play such a file back would be to write to the source.
    for left in ["-journal", "-wal"] {
        let beside = directory.join(format!("{DATABASE_FILE}{left}"));
        if beside.metadata().is_ok_and(|file| file.len() > 0) {
            return Err(malformed(format!(
                "{} shows a writer at work or interrupted; stop the programs that use the token, and open it once with SoftHSM",
                beside.display()
            )));
        }
    }
    let rows = open(&path)
        .and_then(|connection| rows(&connection))
        .map_err(|error| malformed(error.to_string()))?;
    let (mut objects, mut damaged) = (Vec::new(), Vec::new());
    let mut identity = None;
    for (row, attributes) in rows {
        let name = format!("object {row}");
        match attributes {
            Ok(attributes) if row == TOKEN_ROW => {
                identity = Some(Identity::of(&attributes).map_err(malformed)?);
            }
            Ok(attributes) => match whole(name, attributes) {
                Ok(object) => objects.push(object),
                Err(one) => damaged.push(one),
            },
            Err(why) => damaged.push(Damaged {
                name,
                why: why.into(),
            }),
        }
    }
    let identity =
        identity.ok_or_else(|| malformed("it says nothing of the token itself".into()))?;
    Ok(identity.with(directory, objects, damaged))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let bytes_max = i32::try_from(OBJECT_BYTES_MAX).unwrap_or(i32::MAX);
    connection.set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH, bytes_max)?;
    Ok(connection)
}

/// The attributes of an object, or what is wrong with them.
type Parsed = Result<Attributes, &'static str>;

fn rows(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, Parsed>> {
    // One transaction: all tables are seen at one moment.
    let _moment = connection.unchecked_transaction()?;
    let mut objects = BTreeMap::new();
    let mut statement = connection.prepare("select id from object")?;
    for row in statement.query_map([], |row| row.get(0))? {
        objects.insert(row?, Ok(Attributes::new()));
    }
    for table in TABLES {
        let query = format!("select object_id, type, value from {}", table.name);
        let mut statement = connection.prepare(&query)?;
        let mut values = statement.query([])?;
        while let Some(row) = values.next()? {
            // Rows of destroyed objects may be left behind; they belong to nobody.
            if let Some(object) = objects.get_mut(&row.get(0)?) {
                let kind: i64 = row.get(1)?;
                add(object, kind.cast_unsigned(), (table.parse)(row));
            }
        }
    }
    Ok(objects)
}

fn add(object: &mut Parsed, kind: u64, value: Result<StoredValue, &'static str>) {
    let Ok(attributes) = object else { return };
    // A set of mechanisms lies among the byte strings; only its attribute tells.
    let is_set = kind == AttributeType::ALLOWED_MECHANISMS.0;
    let value = match value {
        Ok(StoredValue::Bytes(bytes)) if is_set => mechanisms(&bytes),
        other => other,
    };
    match value {
        // SoftHSM writes some attributes of a new key twice, and reads the first row that it meets.
        Ok(value) => {
            attributes.entry(kind).or_insert(value);
            if attributes.len() > OBJECT_ATTRIBUTES_MAX {
                *object = Err("it has too many attributes");
            }
        }
        Err(fault) => *object = Err(fault),
    }
}

/// A table, and what its values are.
struct Table {
    name: &'static str,
    parse: fn(&Row<'_>) -> Result<StoredValue, &'static str>,
}

/// Those that SoftHSM writes; it makes tables for text, dates and fractions too, and puts nothing there.
const TABLES: [Table; 4] = [
    Table {
        name: "attribute_boolean",
        parse: |row| number(row).map(|value| StoredValue::Boolean(value != 0)),
    },
    Table {
        name: "attribute_integer",
        parse: |row| number(row).map(|value| StoredValue::Number(value.cast_unsigned())),
    },
    Table {
        name: "attribute_binary",
        parse: |row| blob(row).map(|bytes| StoredValue::Bytes(Zeroizing::new(bytes.to_vec()))),
    },
    Table {
        name: "attribute_array",
        parse: |row| array(blob(row)?).map(StoredValue::Attributes),
    },
];

fn number(row: &Row<'_>) -> Result<i64, &'static str> {
    match row.get_ref(2) {
        Ok(ValueRef::Integer(value)) => Ok(value),
        _ => Err("it has a value of another kind than its table says"),
    }
}

fn blob<'r>(row: &'r Row<'_>) -> Result<&'r [u8], &'static str> {
    match row.get_ref(2) {
        Ok(ValueRef::Blob(bytes)) => Ok(bytes),
        // SQLite stores an empty run of bytes as nothing.
        Ok(ValueRef::Null) => Ok(&[]),
        _ => Err("it has a value of another kind than its table says"),
    }
}

fn mechanisms(bytes: &[u8]) -> Result<StoredValue, &'static str> {
    let (types, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(CUT);
    }
    let types = types.iter().map(|bytes| u64::from_ne_bytes(*bytes));
    Ok(StoredValue::Mechanisms(types.collect()))
}

fn array(mut rest: &[u8]) -> Result<Attributes, &'static str> {
    let mut attributes = Attributes::new();
    while !rest.is_empty() {
        let kind = u64::from_ne_bytes(take(&mut rest)?);
        let value = match u32::from_ne_bytes(take(&mut rest)?) {
            1 => StoredValue::Boolean(take::<1>(&mut rest)? != [0]),
            2 => StoredValue::Number(u64::from_ne_bytes(take(&mut rest)?)),
            3 => StoredValue::Bytes(Zeroizing::new(run(&mut rest)?.to_vec())),
            5 => mechanisms(run(&mut rest)?)?,
            _ => return Err("it has an attribute of an unknown kind"),
        };
        attributes.insert(kind, value);
        if attributes.len() > OBJECT_ATTRIBUTES_MAX {
            return Err("it has too many attributes");
        }
    }
    Ok(attributes)
}

fn run<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], &'static str> {
    let length = usize::try_from(u64::from_ne_bytes(take(rest)?)).map_err(|_| CUT)?;
    let (taken, after) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = after;
    Ok(taken)
}

fn take<const LENGTH: usize>(rest: &mut &[u8]) -> Result<[u8; LENGTH], &'static str> {
    let (taken, after) = rest.split_first_chunk().ok_or(CUT)?;
    *rest = after;
    Ok(*taken)
}

const CUT: &str = "a packed value ends in the middle";

//! Objects on their way to the daemon.
//!
//! What lives here: one import over one connection: its beginning, objects in portions, its end.
//! What must never live here: where objects come from; what may be taken, which the daemon judges.
//! Who calls it: every door of the importer.

use strongroom_cli::client::{Client, unexpected};
use strongroom_cli::failure::Failure;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Token};
use strongroom_wire::codec::List;
use strongroom_wire::import::{Destination, IMPORT_OBJECTS_MAX, Judgement};

use crate::arguments::ImportArguments;
use crate::opened::Opened;
use crate::report::{Line, Name, Outcome, Part};

/// An import that has begun. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Import<'c> {
    client: &'c mut Client,
    waiting: Vec<Opened>,
    waiting_bytes: usize,
    judgements: Vec<Judgement>,
}

impl<'c> Import<'c> {
    /// Begins one.
    ///
    /// # Errors
    /// [`Failure`] when the daemon refuses: the serial number is taken, a PIN is wrong or too short, …
    pub fn begin(
        client: &'c mut Client,
        source: &str,
        destination: Destination<'_>,
        keep_history: bool,
    ) -> Result<Self, Failure> {
        let request = AdminRequest::ImportBegin {
            source,
            destination,
            keep_history,
        };
        let AdminAnswer::Done = client.ask(&request)? else {
            return Err(unexpected());
        };
        Ok(Self {
            client,
            waiting: Vec::new(),
            waiting_bytes: 0,
            judgements: Vec::new(),
        })
    }

    /// Takes an object; it is judged in its turn.
    ///
    /// # Errors
    /// [`Failure`] when the daemon is gone, or ends the import.
    pub fn push(&mut self, object: Opened) -> Result<(), Failure> {
        self.waiting_bytes += object.len();
        self.waiting.push(object);
        if self.waiting.len() >= PORTION_OBJECTS.min(IMPORT_OBJECTS_MAX)
            || self.waiting_bytes >= PORTION_BYTES
        {
            self.flush()?;
        }
        Ok(())
    }

    /// How many objects were judged so far.
    #[must_use]
    pub fn judged(&self) -> usize {
        self.judgements.len()
    }

    /// The judgements of all objects, in their order.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub fn judgements(&mut self) -> Result<&[Judgement], Failure> {
        self.flush()?;
        Ok(&self.judgements)
    }

    /// Lets everything that was judged good come into being.
    ///
    /// # Errors
    /// [`Failure`]; nothing has happened then.
    pub fn commit(mut self) -> Result<(Token, u64), Failure> {
        self.flush()?;
        let AdminAnswer::Imported { token, objects } =
            self.client.ask(&AdminRequest::ImportCommit)?
        else {
            return Err(unexpected());
        };
        Ok((token, objects))
    }

    /// Ends it; nothing has happened.
    ///
    /// # Errors
    /// [`Failure`] when the daemon is gone; nothing has happened then either.
    pub fn abandon(self) -> Result<(), Failure> {
        let AdminAnswer::Done = self.client.ask(&AdminRequest::ImportAbandon)? else {
            return Err(unexpected());
        };
        Ok(())
    }

    /// The end of an import: what was judged becomes part of the report, and what was asked for happens.
    ///
    /// # Errors
    /// [`Failure`]; nothing has happened then.
    pub fn settle(
        mut self,
        names: Vec<Name>,
        mut part: Part,
        how: ImportArguments,
    ) -> Result<Part, Failure> {
        let judged = names.into_iter().zip(self.judgements()?);
        part.objects
            .extend(judged.map(|(name, judgement)| Line::judged(name, judgement)));
        if how.dry_run || (how.strict && part.count(Outcome::Refused) > 0) {
            self.abandon()?;
        } else {
            let (token, _) = self.commit()?;
            part.label = token.label;
            part.serial_number = Some(token.serial_number);
            part.committed = true;
        }
        Ok(part)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let templates: Option<Vec<_>> = self.waiting.iter().map(Opened::template).collect();
        let objects = templates.and_then(List::new).ok_or_else(|| {
            Failure::Failed("an object has too many attributes to be sent".into())
        })?;
        let sent = objects.items().len();
        let AdminAnswer::ImportJudged(judged) =
            self.client.ask(&AdminRequest::ImportObjects { objects })?
        else {
            return Err(unexpected());
        };
        if judged.items().len() != sent {
            return Err(unexpected());
        }
        self.judgements.extend(judged.into_items());
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }
}

/// Objects of one request: enough to cost little, few enough that a progress line moves.
const PORTION_OBJECTS: usize = 64;
/// Bytes of one request, so that little is in clear at one time.
const PORTION_BYTES: usize = 256 << 10;

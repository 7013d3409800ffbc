//! Fields given back after an undo, so that the owner's next server-side apply meets no conflict.
//!
//! What lives here: the write of `managedFields`. What does not: what belongs to whom (`kinds::ownership`), the undo itself.

use super::Operator;
use super::execute::{address, guarded};
use crate::cluster::{self, Write, WriteError};
use crate::kinds::ownership::given_back;
use crate::ops::plan::{Expect, Step};
use jiff::Timestamp;
use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation, ReplaceOperation};
use serde_json::Value;

/// How often it is tried where only a status had moved on.
const TRIES: usize = 3;

impl Operator {
    /// Gives back the fields that a step's undo left with us. A second write, because the first one owns whatever it changes, whatever it says.
    ///
    /// # Errors
    /// Why they stay with us, as a part of a sentence.
    pub(super) async fn give_back(&self, step: &Step) -> Result<(), String> {
        for _ in 0..TRIES {
            let live = self.read(&step.environment, &step.object).await.map_err(|failure| failure.what)?;
            let Some(live) = live else { return Ok(()) };
            let Some(managers) = given_back(&live, &step.gives_back, Timestamp::now()) else { return Ok(()) };
            let environment = self.engine.environment(&step.environment).map_err(|failure| failure.what)?;
            let write = Write::Patch(guarded(&replacing(managers), &expected(&live)));
            match cluster::write(&environment.signals, &address(&step.object), &write, false).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Moved(_) | WriteError::Refused(cluster::Refusal::Invalid(_))) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("it changes all the time".to_owned())
    }
}

fn replacing(managers: Vec<Value>) -> Patch {
    let path = PointerBuf::from_tokens(["metadata", "managedFields"]);
    Patch(vec![PatchOperation::Replace(ReplaceOperation { path, value: Value::Array(managers) })])
}

fn expected(live: &Value) -> Expect {
    let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Expect { uid: text("/metadata/uid"), resource_version: text("/metadata/resourceVersion") }
}

//! Reading the objects of policies that are news: what they say, who wrote them, and since when.

use super::super::EngineHandle;
use super::RecorderStatus;
use super::writer::Wanted;
use crate::cluster::contained;
use crate::domain::PolicyKey;
use crate::domain::history::{Detail, EnvironmentKey, News, Note};
use crate::kinds::{KindId, author_of, read_policy};
use futures::StreamExt as _;
use futures::stream::unfold;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long one object may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Objects that are read at a time: recording asks a server for little.
const AT_ONCE: usize = 4;

/// Reads the objects that are wanted, until nobody wants any more.
pub(super) async fn look_up(
    engine: EngineHandle,
    wanted: mpsc::Receiver<Wanted>,
    notes: mpsc::Sender<Vec<Note>>,
    status: watch::Sender<RecorderStatus>,
) {
    let wanted = unfold(wanted, |mut wanted| async move { wanted.recv().await.map(|one: Wanted| (one, wanted)) });
    let (engine, notes, status) = (&engine, &notes, &status);
    let read = |(environment, policy): Wanted| async move {
        let read = contained("lookup", &environment.name, timeout(PATIENCE, detail(engine, &environment, policy))).await;
        if let Err(error) = &read {
            tracing::error!(environment = %environment.name, %error, "a policy could not be read");
        }
        if let Ok(Ok(Some(detail))) = read {
            let at = engine.server_time(&environment.name).unwrap_or_else(Timestamp::now);
            let note = Note { environment, at, news: News::Detail(Box::new(detail)) };
            // Where nobody writes any more the program ends.
            let _ = notes.send(vec![note]).await;
        }
        status.send_modify(|status| status.objects_wanted = status.objects_wanted.saturating_sub(1));
    };
    wanted.for_each_concurrent(AT_ONCE, read).await;
}

/// What the object tells; `None` where it cannot be read, which is no loss but of its text.
async fn detail(engine: &EngineHandle, environment: &Arc<EnvironmentKey>, policy: PolicyKey) -> Option<Detail> {
    let kind = KindId::find(&policy.id.group, &policy.id.kind)?.kind();
    let object = engine.policy_object(&environment.name, &policy.id).await.ok()??;
    let read = read_policy(kind, &object).ok()?;
    Some(Detail { revision: read.revision, actor: author_of(&object), entered: read.entered, object: text(object), policy })
}

/// The object as it is kept: whole, without what only the server's own bookkeeping needs.
fn text(mut object: Value) -> String {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object.to_string()
}

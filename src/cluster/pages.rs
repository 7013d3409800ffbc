//! One page of a list: its items as they arrive, and how the list goes on.

use super::portion::Portion;
use super::refusal::Refusal;
use super::requests::Arriving;
use super::splitter::{Items, Piece};
use super::subject::{StreamContext, Trouble};
use crate::fleet::delta::StreamEvent;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

/// One page of a list.
pub(super) struct Page {
    pub(super) objects: usize,
    pub(super) bytes: usize,
    pub(super) metadata: PageMetadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

#[derive(Deserialize)]
struct Envelope {
    kind: String,
    #[serde(default)]
    metadata: PageMetadata,
}

pub(super) async fn read_page(context: &StreamContext, mut body: Arriving) -> Result<Page, Trouble> {
    let mut items = Items::new(context.limit);
    let mut portion = Portion::new();
    let (mut objects, mut bytes) = (0, 0);
    loop {
        let next = tokio::select! {
            frame = timeout(context.timing.list_silence, body.frame()) => Some(frame),
            () = portion.due() => None,
        };
        let Some(frame) = next else {
            portion.pass_on(context).await?;
            continue;
        };
        let frame = match frame {
            Err(_) => return Err(Refusal::Unreachable("the list stopped arriving".to_owned()).into()),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(Refusal::Unreachable(super::refusal::deepest(&error)).into()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        let (mut whole, mut too_big) = (Vec::new(), 0);
        items.feed(&data, |piece| match piece {
            Piece::Whole(item) => whole.push(item),
            Piece::TooBig => too_big += 1,
        });
        objects += whole.len() + too_big;
        for _ in 0..too_big {
            context.tell(StreamEvent::Skipped).await?;
        }
        portion.gather(&mut whole);
        if portion.is_enough() {
            portion.pass_on(context).await?;
        }
    }
    portion.pass_on(context).await?;
    let envelope: Envelope = serde_json::from_slice(&items.envelope())
        .map_err(|error| Refusal::Unreachable(format!("the list ended before it was complete: {error}")))?;
    // JSON from somebody else would read as an empty list.
    if !envelope.kind.ends_with("List") {
        return Err(Refusal::Server("what came is no list".to_owned()).into());
    }
    Ok(Page { objects, bytes, metadata: envelope.metadata })
}

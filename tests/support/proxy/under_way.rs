//! One answer on its way through the proxy: bytes come from the server, and go on as faults and acts let them.

use super::{Act, Active, Asked, Fault, cut};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// How often a throttled answer passes something on.
const BEAT: Duration = Duration::from_millis(50);

pub(super) struct UnderWay {
    asked: Arc<Asked>,
    acting: UnboundedReceiver<Act>,
    met: Option<Arc<Active>>,
    /// The server's answer.
    pub(super) upstream: Option<kube::client::Body>,
    /// What came and was not passed on yet.
    pending: Bytes,
    /// What is to be put in where a line begins.
    queued: VecDeque<Bytes>,
    /// What was passed on ended a line.
    line_begins: bool,
    /// The connection is to be cut in the middle of the next line.
    half: bool,
    /// The next thing that happens is a cut.
    cut: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.asked.open.store(false, Ordering::Relaxed);
    }
}

impl UnderWay {
    pub(super) fn new(asked: Arc<Asked>, acting: UnboundedReceiver<Act>, met: Option<Arc<Active>>) -> Self {
        let (upstream, pending, queued) = (None, Bytes::new(), VecDeque::new());
        Self { asked, acting, met, upstream, pending, queued, line_begins: true, half: false, cut: false }
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.met.as_ref().map(|met| &met.fault)
    }

    pub(super) fn answered(&self, status: u16) {
        self.asked.status.store(status, Ordering::Relaxed);
    }

    /// The next bytes to pass on; an error cuts the connection.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            if self.cut {
                return Some(Err(cut()));
            }
            match self.fault() {
                Some(Fault::EndAfter(most)) if *most <= self.asked.sent() => return None,
                Some(Fault::CutAfter(most)) if *most <= self.asked.sent() => return Some(Err(cut())),
                Some(Fault::StallAfter(most)) if *most <= self.asked.sent() => return pending().await,
                _ => {}
            }
            if self.line_begins
                && let Some(bytes) = self.queued.pop_front()
            {
                return Some(Ok(self.passed(bytes)));
            }
            if !self.pending.is_empty() {
                let most = self.portion().await;
                let bytes = self.pending.split_to(most.min(self.pending.len()));
                return Some(Ok(self.passed(bytes)));
            }
            let upstream = self.upstream.as_mut()?;
            tokio::select! {
                biased;
                Some(act) = self.acting.recv() => match act {
                    Act::Inject(bytes) => self.queued.push_back(Bytes::from(bytes)),
                    Act::Cut => self.cut = true,
                    Act::End => return None,
                    Act::CutInLine => self.half = true,
                    Act::Stall => return pending().await,
                },
                frame = upstream.frame() => match frame {
                    None => return None,
                    Some(Err(_)) => self.cut = true,
                    Some(Ok(frame)) => self.pending = frame.into_data().unwrap_or_default(),
                },
            }
        }
    }

    /// How much of what is pending goes on now.
    async fn portion(&mut self) -> usize {
        if self.half {
            self.cut = true;
            return (self.pending.len() / 2).max(1);
        }
        let left = |most: u64| usize::try_from(most - self.asked.sent()).unwrap_or(usize::MAX);
        match self.met.as_ref().map(|met| (&met.fault, met.healed.load(Ordering::Relaxed))) {
            Some((Fault::EndAfter(most) | Fault::CutAfter(most) | Fault::StallAfter(most), _)) => left(*most),
            Some((Fault::Throttle(rate), false)) => {
                tokio::time::sleep(BEAT).await;
                usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1)
            }
            _ => usize::MAX,
        }
    }

    fn passed(&mut self, bytes: Bytes) -> Bytes {
        self.line_begins = bytes.ends_with(b"\n");
        self.asked.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }
}

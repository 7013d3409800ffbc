//! One finding, opened: itself, the same in the other environments, and the live object behind it. A refused admission opens alike,
//! but has neither: it never existed.
//!
//! What lives here: what was asked and what came. What does not: drawing (`finding_view`).

use super::refused::as_finding;
use super::rows::{RowId, Target};
use super::yaml::{self, Spot, YamlLine};
use crate::engine::Failure;
use crate::fleet::query::{BlockedRow, FindingRow};
use crate::kinds::secret;
use crate::tui::msg::{Answer, Ask, Elsewhere};
use crate::tui::screens::Cx;
use serde_json::Value;

/// The live object, as far as it has come.
#[derive(Debug)]
pub(super) enum Object {
    /// Not asked for yet.
    NotAsked,
    /// Asked, under this number.
    Asked(u64),
    /// There it is.
    Here {
        /// Without the values of Secrets.
        lines: Vec<YamlLine>,
        failing: Option<Spot>,
        path: Option<String>,
        replaced: bool,
        /// What is shown instead of `lines` while a Secret is revealed.
        secret: Option<Vec<YamlLine>>,
    },
    /// It could not be had.
    Failed(Failure),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) target: Target,
    pub(super) row: FindingRow,
    /// It is a refused admission; the row says as much of it as a finding can.
    pub(super) refused: Option<BlockedRow>,
    /// It is no longer among the rows it was opened from.
    pub(super) gone: bool,
    elsewhere_asked: Option<u64>,
    pub(super) elsewhere: Option<Vec<Elsewhere>>,
    pub(super) object: Object,
    /// Whether the object is shown instead of the finding.
    pub(super) showing_object: bool,
    /// Whether the values of a Secret are shown.
    revealed: bool,
    /// First line in sight, of the finding and of the object.
    pub(super) scroll: [usize; 2],
}

impl Finding {
    /// Opens a finding and asks for it elsewhere.
    pub(super) fn open(target: Target, row: FindingRow, cx: &mut Cx<'_>) -> Self {
        let mut finding = Self {
            target,
            row,
            refused: None,
            gone: false,
            elsewhere_asked: None,
            elsewhere: None,
            object: Object::NotAsked,
            showing_object: false,
            revealed: false,
            scroll: [0, 0],
        };
        finding.ask_elsewhere(cx);
        finding
    }

    /// Opens a refused admission; there is nothing to ask about it.
    pub(super) fn open_refusal(target: Target, refused: BlockedRow) -> Self {
        Self {
            target,
            row: as_finding(&refused),
            refused: Some(refused),
            gone: false,
            elsewhere_asked: None,
            elsewhere: Some(Vec::new()),
            object: Object::NotAsked,
            showing_object: false,
            revealed: false,
            scroll: [0, 0],
        }
    }

    pub(super) fn id(&self) -> RowId {
        RowId::of(&self.row)
    }

    fn ask_elsewhere(&mut self, cx: &mut Cx<'_>) {
        let environments: Vec<_> = cx.fleet.environments.iter().map(|e| e.name.clone()).filter(|n| *n != self.target.environment).collect();
        if environments.is_empty() {
            self.elsewhere = Some(Vec::new());
            return;
        }
        // All results, not only faults: that it passes elsewhere is the news.
        let query = Target { faults_only: false, counted: false, ..self.target.clone() }.query(Some(self.row.resource.namespace.clone()));
        let ask = Ask::Elsewhere { environments, query, rule: self.row.rule.clone(), resource: self.row.resource.clone() };
        self.elsewhere_asked = Some(cx.ask(ask));
    }

    /// Asks for the live object, again if it was there already.
    pub(super) fn ask_object(&mut self, cx: &mut Cx<'_>) {
        let ask = Ask::Object { environment: self.target.environment.clone(), reference: (*self.row.resource).clone() };
        self.object = Object::Asked(cx.ask(ask));
        self.showing_object = true;
        self.revealed = false;
        self.scroll[1] = 0;
    }

    /// Whether a Secret is in sight, with or without its values.
    pub(super) fn shows_secret(&self) -> bool {
        self.showing_object && matches!(&self.object, Object::Here { secret: Some(_), .. })
    }

    /// Whether the values of a Secret are in sight.
    pub(super) fn reveals(&self) -> bool {
        self.revealed && self.shows_secret()
    }

    /// Shows the values of a Secret, or hides them.
    pub(super) fn reveal(&mut self) {
        self.revealed = self.shows_secret() && !self.revealed;
    }

    /// Back from the object to the finding.
    pub(super) fn close_object(&mut self) {
        (self.showing_object, self.revealed) = (false, false);
    }

    /// Takes an answer, if it is one of this finding's.
    pub(super) fn answered(&mut self, number: u64, answer: &Answer) {
        match answer {
            Answer::Elsewhere(found) if self.elsewhere_asked == Some(number) => self.elsewhere = Some(found.clone()),
            Answer::Object(result) if matches!(self.object, Object::Asked(n) if n == number) => self.take_object(result),
            // What others asked for.
            _ => {}
        }
    }

    fn take_object(&mut self, result: &Result<Value, Failure>) {
        self.object = match result {
            Err(failure) => Object::Failed(failure.clone()),
            Ok(value) => {
                let veiled = secret::veiled(value);
                let lines = yaml::lines(veiled.as_ref().unwrap_or(value));
                let secret = veiled.is_some().then(|| yaml::lines(&secret::revealed(value)));
                let path = yaml::failing_path(&self.row.message);
                let failing = path.as_ref().and_then(|p| yaml::spot_of(&lines, p));
                let uid = value.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
                let replaced = !uid.is_empty() && !self.row.resource.uid.is_empty() && uid != self.row.resource.uid;
                // The failing line in sight, with what leads to it above.
                self.scroll[1] = failing.as_ref().map_or(0, |spot| spot.line.saturating_sub(4));
                Object::Here { lines, failing, path, replaced, secret }
            }
        };
    }

    /// Takes the newest state of the finding from its rows; `None` means it is not among them any more.
    pub(super) fn refresh(&mut self, row: Option<&FindingRow>) {
        match row {
            Some(row) => {
                self.row = row.clone();
                self.gone = false;
            }
            None => self.gone = true,
        }
    }
}

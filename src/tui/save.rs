//! What is on the screen as text, and the way out of the screen for it.
//!
//! What lives here: [`Saver`], given from outside because only `files` touches the disk. What does not: where files go.

use ratatui::buffer::Buffer;
use std::fmt;
use std::sync::Arc;
use unicode_width::UnicodeWidthStr;

type Keep = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// Keeps a text, and says where it is or why it could not be kept. It may block: it is called on a thread of its own.
#[derive(Clone)]
pub struct Saver(Arc<Keep>);

impl Saver {
    /// A saver that does this.
    pub fn new(keep: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep))
    }

    pub(crate) fn save(&self, text: &str) -> Result<String, String> {
        (self.0)(text)
    }
}

impl fmt::Debug for Saver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Saver")
    }
}

/// The lines of a buffer, without blanks at their ends.
pub(crate) fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut out = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut covered = 0;
        for x in area.left()..area.right() {
            if covered > 0 {
                covered -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            covered = symbol.width().saturating_sub(1);
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

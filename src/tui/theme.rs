//! Colours by role and shapes with ASCII twins: the only place that names either.
//!
//! What lives here: [`Role`], how each looks at each colour depth, and [`Symbols`]. What does not: which role a thing has.
//! Every role has a word or a shape beside it on screen, so that nothing depends on colour.

use crate::domain::history::{MarkKind, SpanMode};
use crate::domain::{FindingResult, Mode};
use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is for; the theme decides what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Plain text.
    Text,
    /// Headings.
    Strong,
    /// What nobody needs to look at now.
    Muted,
    /// Where one is, and what can be pressed.
    Accent,
    /// All is well; deliberately dim.
    Good,
    /// Worth a look.
    Attention,
    /// A person has to do something.
    Fault,
    /// Production, wherever it is named.
    Production,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 8] =
        [Self::Text, Self::Strong, Self::Muted, Self::Accent, Self::Good, Self::Attention, Self::Fault, Self::Production];

    /// One letter for role maps in tests.
    pub fn letter(self) -> char {
        match self {
            Self::Text => 't',
            Self::Strong => 's',
            Self::Muted => 'm',
            Self::Accent => 'a',
            Self::Good => 'g',
            Self::Attention => 'n',
            Self::Fault => 'f',
            Self::Production => 'p',
        }
    }
}

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorDepth {
    /// None wanted (`NO_COLOR`) or none there.
    None,
    /// The sixteen of the terminal's own palette.
    Ansi16,
    /// The 256 of xterm.
    Ansi256,
    /// 24 bits.
    #[default]
    True,
}

impl ColorDepth {
    /// Tells the depth from what the environment says: `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn detect(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        let term = term.unwrap_or_default();
        if no_color.is_some_and(|v| !v.is_empty()) || term == "dumb" {
            Self::None
        } else if colorterm.is_some_and(|v| matches!(v, "truecolor" | "24bit")) || term.contains("direct") {
            Self::True
        } else if term.contains("256color") {
            Self::Ansi256
        } else {
            Self::Ansi16
        }
    }
}

/// Looks of all roles at one depth, and the shapes that go with them.
#[derive(Debug, Clone)]
pub struct Theme {
    depth: ColorDepth,
    /// Shapes.
    pub(crate) symbols: &'static Symbols,
}

impl Theme {
    /// The theme for a depth, with or without shapes beyond ASCII.
    pub fn new(depth: ColorDepth, ascii: bool) -> Self {
        Self { depth, symbols: if ascii { &ASCII } else { &UNICODE } }
    }

    /// The look of a role.
    pub fn style(&self, role: Role) -> Style {
        let style = Style::new();
        match self.depth {
            ColorDepth::None => match role {
                Role::Text | Role::Accent => style,
                Role::Strong | Role::Attention | Role::Fault => style.add_modifier(Modifier::BOLD),
                Role::Muted | Role::Good => style.add_modifier(Modifier::DIM),
                Role::Production => style.add_modifier(Modifier::BOLD | Modifier::REVERSED),
            },
            // The terminal's own palette: readable on light and dark grounds because its owner made it so.
            ColorDepth::Ansi16 => match role {
                Role::Text => style,
                Role::Strong => style.add_modifier(Modifier::BOLD),
                Role::Muted => style.fg(Color::DarkGray),
                Role::Accent => style.fg(Color::Cyan),
                Role::Good => style.fg(Color::Green),
                Role::Attention => style.fg(Color::Yellow),
                Role::Fault => style.fg(Color::Red).add_modifier(Modifier::BOLD),
                Role::Production => style.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
            },
            ColorDepth::Ansi256 => self.coloured(role, [75, 71, 178, 203, 244, 124].map(Color::Indexed), Color::Indexed(255)),
            // Middle tones, which hold on light and on dark grounds.
            ColorDepth::True => self.coloured(
                role,
                [
                    Color::Rgb(0x58, 0x9d, 0xe8),
                    Color::Rgb(0x5f, 0x9a, 0x6b),
                    Color::Rgb(0xd0, 0x9a, 0x2f),
                    Color::Rgb(0xe8, 0x5d, 0x55),
                    Color::Rgb(0x7d, 0x86, 0x93),
                    Color::Rgb(0xb4, 0x23, 0x2a),
                ],
                Color::Rgb(0xff, 0xff, 0xff),
            ),
        }
    }

    #[expect(clippy::unused_self, reason = "belongs to the theme, which may come to carry colours of its own")]
    fn coloured(&self, role: Role, [accent, good, attention, fault, muted, production]: [Color; 6], white: Color) -> Style {
        let style = Style::new();
        match role {
            Role::Text => style,
            Role::Strong => style.add_modifier(Modifier::BOLD),
            Role::Muted => style.fg(muted),
            Role::Accent => style.fg(accent),
            Role::Good => style.fg(good),
            Role::Attention => style.fg(attention),
            Role::Fault => style.fg(fault).add_modifier(Modifier::BOLD),
            Role::Production => style.fg(white).bg(production).add_modifier(Modifier::BOLD),
        }
    }

    /// The look of a role on the selected row; `focused` where the keys go there.
    pub fn selected(&self, role: Role, focused: bool) -> Style {
        let style = self.style(role);
        if role == Role::Production {
            return style;
        }
        let (strong, weak, white, grey) = match self.depth {
            // Reversed colours would make a patchwork of the row: what is reversed goes without.
            ColorDepth::None | ColorDepth::Ansi16 if focused => return Style::new().add_modifier(Modifier::REVERSED),
            ColorDepth::None | ColorDepth::Ansi16 => return style,
            ColorDepth::Ansi256 => (Color::Indexed(24), Color::Indexed(237), Color::Indexed(255), Color::Indexed(250)),
            ColorDepth::True => {
                (Color::Rgb(0x1f, 0x3d, 0x5c), Color::Rgb(0x2a, 0x2f, 0x37), Color::Rgb(0xf4, 0xf6, 0xf8), Color::Rgb(0xa9, 0xb1, 0xbc))
            }
        };
        let style = style.bg(if focused { strong } else { weak });
        match role {
            Role::Text | Role::Strong => style.fg(white),
            Role::Muted | Role::Good => style.fg(grey),
            Role::Accent | Role::Attention | Role::Fault | Role::Production => style,
        }
    }

    /// The cell the cursor is in, within the selected row. Roles do not show there: shapes and words must do.
    pub fn cursor(&self) -> Style {
        let style = Style::new();
        match self.depth {
            // The row is reversed: a hole in it stands out.
            ColorDepth::None | ColorDepth::Ansi16 => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            ColorDepth::Ansi256 => style.fg(Color::Indexed(231)).bg(Color::Indexed(32)).add_modifier(Modifier::BOLD),
            ColorDepth::True => style.fg(Color::Rgb(0xff, 0xff, 0xff)).bg(Color::Rgb(0x2f, 0x74, 0xb5)).add_modifier(Modifier::BOLD),
        }
    }

    /// The letter of the role that looks like `style`, upper case on a selected row, `#` under the cursor, `?` for anything else.
    pub fn letter(&self, style: Style) -> char {
        // A buffer's cell has every field set; compare on what the roles set.
        let plain = |s: Style| (s.fg.filter(|c| *c != Color::Reset), s.bg.filter(|c| *c != Color::Reset), s.add_modifier);
        let wanted = plain(style);
        for role in Role::ALL {
            if plain(self.style(role)) == wanted {
                return role.letter();
            }
        }
        for role in Role::ALL {
            if plain(self.selected(role, true)) == wanted || plain(self.selected(role, false)) == wanted {
                return role.letter().to_ascii_uppercase();
            }
        }
        if plain(self.cursor()) == wanted { '#' } else { '?' }
    }
}

macro_rules! symbols {
    ($($(#[$doc:meta])* $name:ident: $unicode:literal, $ascii:literal;)*) => {
        /// Shapes, each with an ASCII twin.
        #[derive(Debug)]
        pub(crate) struct Symbols { $($(#[$doc])* pub(crate) $name: &'static str,)* }
        const UNICODE: Symbols = Symbols { $($name: $unicode,)* };
        const ASCII: Symbols = Symbols { $($name: $ascii,)* };
        #[cfg(test)]
        const TWINS: &[(&str, &str)] = &[$(($unicode, $ascii),)*];
    };
}

symbols! {
    live: "●", "*";
    listing: "◐", "+";
    lost: "◌", "x";
    denied: "⊘", "D";
    /// A key would say it better, but few fonts have one.
    login: "!", "!";
    connecting: "…", ".";
    audit: "▒", "-";
    enforce: "█", "#";
    mixed: "▚", "%";
    warn: "░", "w";
    off: "□", "0";
    not_ready: "○", "o";
    absent: "╱", "/";
    unknown: "?", "?";
    /// Known only from another tool's reports: there is no policy that could have a mode.
    reported: "▫", ".";
    nothing: "·", ".";
    refused: "⊘", "D";
    differs: "≠", "=";
    cut: "…", "~";
    crumb: "›", ">";
    cursor: "▌", ">";
    rule: "─", "-";
    dots: "┄", "-";
    down: "↓", "v";
    up: "↑", "^";
    left: "‹", "<";
    right: "›", ">";
    fail: "✖", "x";
    pass: "✓", "v";
    skip: "–", "-";
    /// Of a condition.
    met: "✓", "+";
    unmet: "✗", "x";
    unfolded: "▾", "v";
    folded: "▸", ">";
    none: "–", "-";
    point: "▶", ">";
    /// Chosen together with others.
    marked: "◉", "*";
    /// Between what was and what will be.
    becomes: "→", ">";
    corner_tl: "┌", "+";
    corner_tr: "┐", "+";
    corner_bl: "└", "+";
    corner_br: "┘", "+";
    side: "│", "|";
    times: "×", "x";
    caret: "▏", "_";
    middot: "·", "-";
    arrow: "→", ">";
    at_least: "≥", ">";
    /// Over time: the policy was not there.
    gone: "·", ".";
    /// Over time: nobody watched.
    unwatched: "┄", ":";
    /// Over time: nothing is on record at all.
    no_record: "╱", "/";
    /// Marks of what happened.
    promoted: "▲", "^";
    demoted: "▼", "v";
    exception: "◆", "*";
    happened: "•", "@";
}

/// Heights that a column can have.
pub(crate) const HEIGHTS: usize = 8;

impl Symbols {
    /// The shape of a mode.
    pub(crate) fn mode(&self, mode: Mode) -> &'static str {
        match mode {
            Mode::Audit => self.audit,
            Mode::Enforce => self.enforce,
            Mode::Mixed => self.mixed,
            Mode::Warn => self.warn,
            Mode::Off => self.off,
            Mode::NotReady => self.not_ready,
            Mode::Absent => self.absent,
            Mode::Unknown => self.unknown,
        }
    }

    /// The shape of what a policy did, over time.
    pub(crate) fn span(&self, mode: SpanMode) -> &'static str {
        match mode {
            SpanMode::Unwatched => self.unwatched,
            SpanMode::Of(Mode::Absent) => self.gone,
            SpanMode::Of(mode) => self.mode(mode),
        }
    }

    /// A column of this height, of [`HEIGHTS`]; nothing is a dot.
    pub(crate) fn height(&self, level: usize) -> &'static str {
        const SHAPES: [&str; HEIGHTS] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
        const PLAIN: [&str; HEIGHTS] = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let shapes = if self.cut.is_ascii() { &PLAIN } else { &SHAPES };
        level.checked_sub(1).and_then(|place| shapes.get(place)).copied().unwrap_or(self.nothing)
    }

    /// The shape of something that happened.
    pub(crate) fn mark(&self, kind: MarkKind) -> &'static str {
        match kind {
            MarkKind::Promote => self.promoted,
            MarkKind::Demote => self.demoted,
            MarkKind::Exception => self.exception,
            MarkKind::Violations => self.fail,
            MarkKind::Clean => self.met,
            MarkKind::Revision => self.differs,
            MarkKind::Created | MarkKind::Deleted | MarkKind::Mode | MarkKind::Ready | MarkKind::Operation => self.happened,
        }
    }

    /// The shape of a result.
    pub(crate) fn result(&self, result: FindingResult) -> &'static str {
        match result {
            FindingResult::Pass => self.pass,
            FindingResult::Skip => self.skip,
            FindingResult::Warn => self.warn,
            FindingResult::Fail => self.fail,
            FindingResult::Error => "!",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text::width;

    #[test]
    fn every_shape_and_its_twin_take_one_column() {
        for (unicode, ascii) in TWINS {
            assert_eq!((width(unicode), width(ascii)), (1, 1), "{unicode} {ascii}");
            assert!(ascii.is_ascii(), "{ascii}");
        }
    }

    #[test]
    fn states_and_modes_never_look_alike() {
        for s in [&UNICODE, &ASCII] {
            let states = [s.live, s.listing, s.lost, s.denied, s.login, s.connecting];
            let modes = [s.audit, s.enforce, s.mixed, s.warn, s.off, s.not_ready, s.absent, s.unknown, s.reported];
            let spans = [s.audit, s.enforce, s.mixed, s.warn, s.off, s.not_ready, s.gone, s.unknown, s.unwatched, s.no_record];
            let marks = [s.promoted, s.demoted, s.exception, s.fail, s.met, s.differs, s.happened];
            for set in [&states[..], &modes[..], &spans[..], &marks[..]] {
                let unique: std::collections::BTreeSet<_> = set.iter().collect();
                assert_eq!(unique.len(), set.len(), "{set:?}");
            }
        }
    }

    #[test]
    fn depth_is_told_from_the_environment() {
        assert_eq!(ColorDepth::detect(Some("1"), Some("truecolor"), Some("xterm")), ColorDepth::None);
        assert_eq!(ColorDepth::detect(Some(""), Some("truecolor"), None), ColorDepth::True);
        assert_eq!(ColorDepth::detect(None, None, Some("xterm-256color")), ColorDepth::Ansi256);
        assert_eq!(ColorDepth::detect(None, None, Some("linux")), ColorDepth::Ansi16);
        assert_eq!(ColorDepth::detect(None, None, Some("dumb")), ColorDepth::None);
    }

    #[test]
    fn in_true_colour_every_role_can_be_told_from_every_other() {
        let theme = Theme::new(ColorDepth::True, false);
        for role in Role::ALL {
            assert_eq!(theme.letter(theme.style(role)), role.letter());
        }
    }
}

//! Whatever is pressed, comes in or changes size, the screen neither panics nor draws outside of its area.

#[path = "screens/deck.rs"]
mod deck;
#[path = "screens/fixture.rs"]
mod fixture;

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use deck::{Deck, event};
use fixture::{ago, cell, environment};
use policydeck::domain::journal::StepResult;
use policydeck::domain::{Link, Mode};
use policydeck::engine::operations::{Declined, Stage};
use policydeck::fleet::view::EnvironmentView;
use policydeck::tui::{Answer, Effect, Msg, Operations, Progress, TuiOptions};
use proptest::prelude::*;
use ratatui::buffer::Buffer;

fn any_key() -> impl Strategy<Value = Msg> {
    let keys =
        "up down left right pgup pgdn home end enter esc q tab shift-tab / c P ctrl-r ctrl-s m : ? ctrl-l o u s < S Y y n 0 1 4 9 a p r H space x ! backspace t w n N + - left left N N"
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>();
    prop::sample::select(keys).prop_map(|key| Msg::Key(event(&key)))
}

fn any_fleet() -> impl Strategy<Value = Vec<EnvironmentView>> {
    (0_usize..10).prop_map(|n| match n {
        0 => fixture::sketch(),
        1 => fixture::one_lost(),
        2 => fixture::starting(),
        3 => fixture::troubled(),
        4 => fixture::nothing_wrong(),
        5 => Vec::new(),
        6 => fixture::gates::rollout(),
        7 | 8 => fixture::past::environments(),
        _ => {
            let mut view = environment("唯一", vec![cell(&"長".repeat(80), Mode::Mixed, None, 3)]);
            view.link = Link::Stale { since: ago(99) };
            vec![view]
        }
    })
}

#[derive(Debug, Clone)]
enum Step {
    Msg(Box<Msg>),
    Fleet(Vec<EnvironmentView>),
    Size(u16, u16),
    Later(i64),
    Rollout,
    /// The plans that are carried out are, or nobody knows; or only how far they are.
    Carried(u8),
    Timeline,
    Journal,
}

fn any_step() -> impl Strategy<Value = Step> {
    let mouse = (0_u16..210, 0_u16..70, 0_usize..4).prop_map(|(column, row, kind)| {
        let kind =
            [MouseEventKind::Down(MouseButton::Left), MouseEventKind::ScrollDown, MouseEventKind::ScrollUp, MouseEventKind::Moved][kind];
        Step::Msg(Box::new(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })))
    });
    prop_oneof![
        10 => any_key().prop_map(|m| Step::Msg(Box::new(m))),
        2 => mouse,
        1 => Just(Step::Rollout),
        1 => (0_u8..5).prop_map(Step::Carried),
        2 => Just(Step::Timeline),
        2 => Just(Step::Journal),
        1 => ".{0,12}".prop_map(|text| Step::Msg(Box::new(Msg::Paste(text)))),
        2 => any_fleet().prop_map(Step::Fleet),
        2 => (1_u16..=200, 1_u16..=60).prop_map(|(w, h)| Step::Size(w, h)),
        1 => (1_u16..=9, 1_u16..=9).prop_map(|(w, h)| Step::Size(w, h)),
        2 => (0_i64..2_000).prop_map(Step::Later),
    ]
}

/// Something is heard of the plans that were told to be carried out last.
fn carried(deck: &mut Deck, how: u8) {
    let last = deck.effects.iter().rev().find_map(|effect| match effect {
        Effect::CarryOut(number, plans) => Some((*number, plans.clone())),
        _ => None,
    });
    let Some((number, plans)) = last else { return };
    let of = |result, reason: &str| plans.iter().map(|plan| Ok(fixture::plans::outcome(plan, result, reason, false))).collect();
    let results: Vec<Result<_, Declined>> = match how {
        0 => of(StepResult::Done, "enforce now"),
        1 => of(StepResult::Unknown, "the answer was lost"),
        2 => vec![Err(fixture::plans::kept_by_git())],
        3 => Vec::new(),
        _ => return deck.send(Msg::Progress(Progress { plan: 7, stage: Some(Stage::Follow { step: 3 }) })),
    };
    deck.send(Msg::Answer(number, Answer::CarriedOut(results.into())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of messages at any size neither panics nor draws outside of its area.
    #[test]
    fn anything_may_happen_at_any_size(steps in prop::collection::vec(any_step(), 1..40), ascii in any::<bool>(), past in 0_usize..6, done in 0_usize..6) {
        let operations = Operations::Possible { acknowledge: true };
        let history = [None, Some(fixture::past::empty()), Some(fixture::past::damaged())].into_iter().nth(past);
        let history = history.unwrap_or_else(|| Some(fixture::past::reader()));
        let journals = [None, Some(fixture::journals::empty()), Some(fixture::journals::broken()), Some(fixture::journals::unreadable())];
        let journal = journals.into_iter().nth(done).unwrap_or_else(|| Some(fixture::journals::reader()));
        let options = TuiOptions { ascii, operations, history, journal, ..TuiOptions::default() };
        let mut deck = Deck::with(options, fixture::sketch(), (80, 24));
        let mut size = (80, 24);
        for step in steps {
            match step {
                Step::Msg(msg) => deck.send(*msg),
                Step::Fleet(environments) => deck.replace(environments),
                Step::Size(w, h) => size = (w, h),
                Step::Later(ms) => deck.later(ms),
                Step::Carried(how) => carried(&mut deck, how),
                Step::Rollout => ": r o l l o u t enter enter enter".split(' ').for_each(|key| deck.send(Msg::Key(event(key)))),
                Step::Journal => ": j o u r n a l enter down down enter".split(' ').for_each(|key| deck.send(Msg::Key(event(key)))),
                Step::Timeline => ": r o l l o u t enter t".split(' ').for_each(|key| deck.send(Msg::Key(event(key)))),
            }
            let outer = ratatui::layout::Rect::new(0, 0, size.0 + 4, size.1 + 4);
            let inner = ratatui::layout::Rect::new(2, 2, size.0, size.1);
            let mut buffer = Buffer::filled(outer, ratatui::buffer::Cell::new("@"));
            deck.app.draw_into(inner, &mut buffer);
            for y in 0..outer.height {
                for x in 0..outer.width {
                    if !inner.contains((x, y).into()) {
                        prop_assert_eq!(buffer[(x, y)].symbol(), "@", "drawn outside at {},{} of {:?}", x, y, size);
                    }
                    let symbol = buffer[(x, y)].symbol();
                    prop_assert!(!symbol.chars().any(char::is_control), "a control character reached the screen");
                }
            }
        }
    }
}

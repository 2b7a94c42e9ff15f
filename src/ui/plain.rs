//! Lines for people where there is no terminal: each 10 %, at least one a minute, and whenever something else begins.
//!
//! While sharing there is a line a minute only if something was sent or members came or went: such a log may be months long.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Phase, View, report::counted};
use crate::cli::units;

/// Without anything else to say, a line each so often.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Remembers what was said last of each composition.
#[derive(Default)]
pub struct Plain {
    said: Mutex<Vec<Option<View>>>,
}

impl Plain {
    /// The line that is due, if one is.
    pub fn update(&self, slot: usize, view: &View) -> Option<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() <= slot {
            said.resize(slot + 1, None);
        }
        let last = &mut said[slot];
        if !is_due(last.as_ref(), view) {
            return None;
        }
        *last = Some(view.clone());
        Some(line(view))
    }
}

fn is_due(last: Option<&View>, view: &View) -> bool {
    let Some(last) = last else { return true };
    if !last.phase.is_same(&view.phase) {
        return true;
    }
    let minute = view.elapsed.saturating_sub(last.elapsed) >= EVERY;
    match view.phase {
        Phase::Sharing => {
            let (now, then) = (&view.swarm, &last.swarm);
            minute && (now.uploaded, now.members) != (then.uploaded, then.members)
        }
        _ => minute || view.percent() / 10 != last.percent() / 10,
    }
}

fn line(view: &View) -> String {
    let View { name, swarm, .. } = view;
    let percent = view.percent();
    let parts = format!("{} of {} parts", swarm.parts_done, swarm.parts);
    let (down, up) = (units::rate(swarm.rate_down), units::rate(swarm.rate_up));
    let members = counted(swarm.members as u64, "member");
    match &view.phase {
        Phase::Seeking { asked: 0, waiting_for } => format!("{name}: waiting for {waiting_for}"),
        Phase::Seeking { asked, .. } => {
            format!("{name}: asking {} for the manifest", counted(*asked as u64, "member"))
        }
        Phase::Checking { .. } => format!("{name}: checking what is on disk: {percent}%"),
        Phase::Waiting(what) if !view.is_known() => format!("{name}: waiting for {what}"),
        Phase::Waiting(what) => format!("{name}: {percent}% ({parts}), waiting for {what}"),
        Phase::Fetching => {
            let eta = view.eta.map(|eta| format!(", {} left", units::duration(eta))).unwrap_or_default();
            format!("{name}: {percent}% ({parts}), {down} down, {up} up, {members}{eta}")
        }
        Phase::Verifying => format!("{name}: verifying the whole file"),
        Phase::Sharing => format!("{name}: sharing, {up} up, {} sent, {members}", units::size(swarm.uploaded)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::tests::view;

    #[test]
    fn a_line_each_ten_percent() {
        let plain = Plain::default();
        let mut view = view();
        let mut lines = Vec::new();
        for done in 0..=1000 {
            view.swarm.bytes_done = view.swarm.bytes / 1000 * done;
            lines.extend(plain.update(0, &view));
        }
        assert_eq!(lines.len(), 11 - 1, "{lines:?}");
    }

    #[test]
    fn a_line_a_minute_at_least() {
        let plain = Plain::default();
        let mut view = view();
        let lines: Vec<_> = (0..600)
            .filter_map(|second| {
                view.elapsed = Duration::from_secs(second);
                plain.update(1, &view)
            })
            .collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0], "big.iso: 39% (812 of 2048 parts), 99 MiB/s down, 12 MiB/s up, 8 members, 25 s left");
    }

    #[test]
    fn a_line_when_something_else_begins() {
        let plain = Plain::default();
        let mut view = view();
        assert!(plain.update(0, &view).is_some());
        view.phase = Phase::Waiting("the conductor".to_owned());
        assert_eq!(plain.update(0, &view).unwrap(), "big.iso: 39% (812 of 2048 parts), waiting for the conductor");
        assert_eq!(plain.update(0, &view), None);
        view.phase = Phase::Sharing;
        assert!(plain.update(0, &view).is_some());
    }

    #[test]
    fn what_is_waited_for_and_not_known_yet_has_no_percentage() {
        let what = "somebody to share big.iso: conductor head:9999 has none yet";
        let view = View { phase: Phase::Waiting(what.to_owned()), swarm: Default::default(), ..view() };
        assert_eq!(Plain::default().update(0, &view).unwrap(), format!("big.iso: waiting for {what}"));
    }

    #[test]
    fn while_nothing_is_known_of_it_a_line_says_who_is_asked() {
        let plain = Plain::default();
        let seeking = |asked| Phase::Seeking { asked, waiting_for: "a member" };
        let mut view = View { phase: seeking(0), swarm: Default::default(), ..view() };
        assert_eq!(plain.update(0, &view).unwrap(), "big.iso: waiting for a member");
        view.phase = seeking(1);
        assert_eq!(plain.update(0, &view).unwrap(), "big.iso: asking 1 member for the manifest");
        view.phase = seeking(2);
        assert_eq!(plain.update(0, &view), None);
        view.elapsed += EVERY;
        assert_eq!(plain.update(0, &view).unwrap(), "big.iso: asking 2 members for the manifest");
    }

    #[test]
    fn nothing_new_while_sharing_is_no_line() {
        let plain = Plain::default();
        let mut view = View { phase: Phase::Sharing, ..view() };
        assert!(plain.update(0, &view).is_some());
        view.elapsed += EVERY * 60;
        assert_eq!(plain.update(0, &view), None);
        view.swarm.uploaded += 1;
        assert!(plain.update(0, &view).is_some());
    }
}

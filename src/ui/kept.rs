//! What a screen is told, kept for somebody who draws it himself: the menu.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Report, View};

/// What happened and was not taken is kept so far; the oldest goes first.
const MOST: usize = 1000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Report(Report),
    /// A line for people.
    Said(String),
}

/// What was told and not taken yet.
#[derive(Default)]
pub struct Kept(Mutex<Told>);

#[derive(Default)]
struct Told {
    views: BTreeMap<usize, View>,
    news: VecDeque<News>,
}

impl Kept {
    pub(super) fn update(&self, slot: usize, view: &View) {
        self.lock().views.insert(slot, view.clone());
    }

    pub(super) fn leave(&self, slot: usize) {
        self.lock().views.remove(&slot);
    }

    pub(super) fn tell(&self, news: News) {
        let told = &mut *self.lock();
        told.news.push_back(news);
        if told.news.len() > MOST {
            told.news.pop_front();
        }
    }

    /// How everything stands, by slot.
    pub fn views(&self) -> BTreeMap<usize, View> {
        self.lock().views.clone()
    }

    /// What happened since this was last asked.
    pub fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.lock().news).into()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! *What lives here:* which pages of the region are free: runs of pages, cut and joined again, all in a side table of ordinary
//! memory. *What must never live here:* an address. *Who calls it:* `pool`, under its lock.

/// The free runs of pages. Neighbouring free runs are always joined.
pub(crate) struct Spans {
    /// By page: the length of the free run that begins or ends there, else 0.
    run_pages: Box<[usize]>,
    /// By first page of a free run: its neighbours in the list of its bin.
    next: Box<[usize]>,
    previous: Box<[usize]>,
    /// By bin: the first run, or [`NONE`].
    heads: [usize; BINS],
    /// One bit for each bin that has a run.
    occupied: u64,
    taken: usize,
    taken_peak: usize,
}

impl Spans {
    /// All pages free, as one run.
    pub(crate) fn new(pages: usize) -> Self {
        let table = || vec![0; pages].into_boxed_slice();
        let mut spans = Self {
            run_pages: table(),
            next: table(),
            previous: table(),
            heads: [NONE; BINS],
            occupied: 0,
            taken: 0,
            taken_peak: 0,
        };
        spans.insert(0, pages);
        spans
    }

    /// Takes `pages` pages in a row and gives the first.
    pub(crate) fn take(&mut self, pages: usize) -> Option<usize> {
        let first = self.find(pages)?;
        let found = self.run_pages[first];
        self.remove(first);
        if found > pages {
            self.insert(first + pages, found - pages);
        }
        self.taken += pages;
        self.taken_peak = self.taken_peak.max(self.taken);
        Some(first)
    }

    /// Gives back what `take` gave.
    pub(crate) fn give_back(&mut self, first: usize, pages: usize) {
        self.taken -= pages;
        let (mut start, mut end) = (first, first + pages);
        if end < self.run_pages.len() && self.run_pages[end] != 0 {
            let after = self.run_pages[end];
            self.remove(end);
            end += after;
        }
        if start > 0 && self.run_pages[start - 1] != 0 {
            start -= self.run_pages[start - 1];
            self.remove(start);
        }
        self.insert(start, end - start);
    }

    /// The most pages that were ever taken at one time.
    pub(crate) fn taken_peak(&self) -> usize {
        self.taken_peak
    }

    /// The first page of a free run of at least that length, in the smallest bin that has one.
    fn find(&self, pages: usize) -> Option<usize> {
        if pages == 0 || pages > self.run_pages.len() {
            return None;
        }
        let own = bin_of(pages);
        if let Some(first) = self.lowest_in(own, pages) {
            return Some(first);
        }
        let larger = self.occupied & (u64::MAX << (own + 1));
        if larger == 0 {
            return None;
        }
        self.lowest_in(larger.trailing_zeros() as usize, pages)
    }

    /// The lowest run in a bin that is long enough. Low addresses first, because those are populated already.
    fn lowest_in(&self, bin: usize, pages: usize) -> Option<usize> {
        let mut lowest = NONE;
        let mut run = self.heads[bin];
        while run != NONE {
            if self.run_pages[run] >= pages && run < lowest {
                lowest = run;
                // In a bin of one exact length the runs are alike, and there may be thousands: any will do.
                if bin < EXACT_BINS {
                    break;
                }
            }
            run = self.next[run];
        }
        (lowest != NONE).then_some(lowest)
    }

    fn insert(&mut self, first: usize, pages: usize) {
        let bin = bin_of(pages);
        let head = self.heads[bin];
        self.run_pages[first] = pages;
        self.run_pages[first + pages - 1] = pages;
        self.next[first] = head;
        self.previous[first] = NONE;
        if head != NONE {
            self.previous[head] = first;
        }
        self.heads[bin] = first;
        self.occupied |= 1 << bin;
    }

    fn remove(&mut self, first: usize) {
        let pages = self.run_pages[first];
        let bin = bin_of(pages);
        let (next, previous) = (self.next[first], self.previous[first]);
        if next != NONE {
            self.previous[next] = previous;
        }
        if previous == NONE {
            self.heads[bin] = next;
        } else {
            self.next[previous] = next;
        }
        if self.heads[bin] == NONE {
            self.occupied &= !(1 << bin);
        }
        self.run_pages[first] = 0;
        self.run_pages[first + pages - 1] = 0;
    }
}

/// One bin for each length up to [`EXACT_BINS`], then one for each doubling.
fn bin_of(pages: usize) -> usize {
    match pages {
        0 => 0,
        1..=EXACT_BINS => pages - 1,
        _ => EXACT_BINS + (pages.ilog2() - EXACT_BINS.ilog2()) as usize,
    }
}

const NONE: usize = usize::MAX;
const EXACT_BINS: usize = 32;
/// Enough for runs of 2^32 pages; [`Spans::occupied`] has a bit for each.
const BINS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_and_joined_again() {
        let mut spans = Spans::new(100);
        let taken: Vec<_> = (0..10).map(|_| spans.take(10).unwrap()).collect();
        assert_eq!(taken, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(spans.take(1), None);
        for first in [10, 30, 20, 90, 0, 40, 80, 60, 70] {
            spans.give_back(first, 10);
        }
        assert_eq!(spans.take(51), None);
        assert_eq!(spans.take(50), Some(0));
        spans.give_back(0, 50);
        spans.give_back(50, 10);
        assert_eq!(spans.take(100), Some(0));
        assert_eq!(spans.taken_peak(), 100);
    }

    #[test]
    fn random_runs_never_overlap_and_all_come_back() {
        let mut spans = Spans::new(3000);
        let mut owner = vec![false; 3000];
        let mut held = Vec::new();
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = usize::try_from(random >> 40).unwrap();
            if number.is_multiple_of(2) || held.is_empty() {
                let pages = 1 + number / 2 % 90;
                if let Some(first) = spans.take(pages) {
                    assert!(owner[first..first + pages].iter().all(|page| !page));
                    owner[first..first + pages].fill(true);
                    held.push((first, pages));
                }
            } else {
                let (first, pages) = held.swap_remove(number / 2 % held.len());
                owner[first..first + pages].fill(false);
                spans.give_back(first, pages);
            }
        }
        for (first, pages) in held {
            spans.give_back(first, pages);
        }
        assert_eq!(spans.take(3000), Some(0));
        assert_eq!((spans.take(0), spans.take(usize::MAX)), (None, None));
    }
}

//! Connections that are given up because they were idle.
//!
//! What lives here: which of an application's connections may go, so that one is always left: with the last one its sessions end.
//! What must never live here: how long idle is (the daemon).
//! Who calls it: connections.

use std::sync::atomic::Ordering;

use super::Service;
use crate::application::Application;

impl Service {
    /// Whether this connection of an application may be given up: another one is left, that has the sessions. It is then to end.
    pub fn may_rest(&self, application: &Application) -> bool {
        let _applications = self.applications.lock();
        let connections = application.connections.load(Ordering::SeqCst);
        let others = connections.saturating_sub(application.resting.load(Ordering::SeqCst));
        let spare = others > 1;
        application
            .resting
            .fetch_add(usize::from(spare), Ordering::SeqCst);
        spare
    }

    /// A connection that was given up has ended.
    pub fn rested(&self, application: &Application) {
        application.resting.fetch_sub(1, Ordering::SeqCst);
    }
}

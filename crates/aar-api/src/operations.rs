//! Operations: what changing calls stand for. They are done when they are answered; one that takes long, such as a push, can
//! be watched by others meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aar_model::wire::{API_PREFIX, Operation};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

/// Operations that are kept; beyond it the oldest that has ended is forgotten.
const KEPT: usize = 512;

/// Changes of operations that a follower may be behind.
const BACKLOG: usize = 1024;

/// The operations that run, and the latest that have ended, oldest first.
#[derive(Debug)]
pub(crate) struct Operations {
    known: Mutex<VecDeque<watch::Receiver<Arc<Operation>>>>,
    changes: broadcast::Sender<Arc<Operation>>,
}

/// An operation that runs. Dropped before it has succeeded, it has failed.
#[derive(Debug)]
pub(crate) struct Running {
    now: watch::Sender<Arc<Operation>>,
    changes: broadcast::Sender<Arc<Operation>>,
}

impl Default for Operations {
    fn default() -> Self {
        Self { known: Mutex::default(), changes: broadcast::Sender::new(BACKLOG) }
    }
}

impl Operations {
    /// Begins an operation on an application.
    pub(crate) fn begin(&self, description: impl Into<String>, application: &str) -> Running {
        let now = Timestamp::now().to_string();
        let path = format!("{API_PREFIX}/applications/{application}");
        let operation = Arc::new(Operation {
            id: Uuid::new_v4().to_string(),
            class: "task".into(),
            description: description.into(),
            created_at: now.clone(),
            updated_at: now,
            status: "Running".into(),
            status_code: 103,
            resources: BTreeMap::from([("applications".into(), vec![path])]),
            metadata: Map::new(),
            may_cancel: false,
            err: String::new(),
        });
        // Nobody may be following.
        let _ = self.changes.send(Arc::clone(&operation));
        let (now, receiver) = watch::channel(operation);
        let mut operations = self.lock();
        operations.push_back(receiver);
        if operations.len() > KEPT
            && let Some(ended) = operations.iter().position(|operation| operation.borrow().status_code >= 200)
        {
            operations.remove(ended);
        }
        Running { now, changes: self.changes.clone() }
    }

    /// Follows every operation's beginning and end from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<Operation>> {
        self.changes.subscribe()
    }

    /// All operations, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Operation>> {
        self.lock().iter().map(|operation| Arc::clone(&operation.borrow())).collect()
    }

    /// One operation as it is, or as it is once it has ended or `patience` is over.
    pub(crate) async fn wait(&self, id: &str, patience: Option<Duration>) -> Option<Arc<Operation>> {
        let mut operation = self.lock().iter().find(|operation| operation.borrow().id == id)?.clone();
        if let Some(patience) = patience {
            // An operation whose sender is gone has ended, too.
            let ended = operation.wait_for(|operation| operation.status_code >= 200);
            let _ = tokio::time::timeout(patience, ended).await;
        }
        let now = Arc::clone(&operation.borrow());
        Some(now)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<watch::Receiver<Arc<Operation>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Ends the operation.
    pub(crate) fn succeed(self, metadata: Map<String, Value>) -> Operation {
        let ended = self.end(|operation| {
            operation.status = "Success".into();
            operation.status_code = 200;
            operation.metadata = metadata;
        });
        Operation::clone(&ended)
    }

    /// Ends the operation with what the caller is told.
    pub(crate) fn fail(self, reason: &str) {
        self.end_with(reason);
    }

    fn end_with(&self, reason: &str) {
        self.end(|operation| {
            operation.status = "Failure".into();
            operation.status_code = 400;
            operation.err = reason.into();
        });
    }

    fn end(&self, change: impl FnOnce(&mut Operation)) -> Arc<Operation> {
        let mut operation = Operation::clone(&self.now.borrow());
        operation.updated_at = Timestamp::now().to_string();
        change(&mut operation);
        let ended = Arc::new(operation);
        self.now.send_replace(Arc::clone(&ended));
        let _ = self.changes.send(Arc::clone(&ended));
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.now.borrow().status_code < 200 {
            self.end_with("it was cut off");
        }
    }
}

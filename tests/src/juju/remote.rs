//! The other end of a relation, where a test speaks for it instead of a charm.

use std::collections::BTreeMap;

use super::model::Model;
use super::relations::{Bag, Data, Member, Side, application};
use super::state::Application;

impl Model {
    /// Relates `end`, such as `aar:client`, with an application of the same model that the test speaks for. It has no
    /// units until they join.
    pub fn relate_scripted(&mut self, end: &str, name: &str) -> Result<u32, String> {
        self.relate_foreign(end, name, None)
    }

    /// Relates `end` with an application of another model, by an offer: to the charm it has a name that tells nothing.
    pub fn relate_offered(&mut self, end: &str, name: &str) -> Result<u32, String> {
        self.relate_foreign(end, name, Some(format!("remote-{}", uuid::Uuid::new_v4().simple())))
    }

    fn relate_foreign(&mut self, end: &str, name: &str, seen_as: Option<String>) -> Result<u32, String> {
        let (of, endpoint) = end.split_once(':').ok_or("say APPLICATION:ENDPOINT")?;
        let charm = self.charm_of(of)?;
        let own = charm
            .endpoints
            .get(endpoint)
            .ok_or_else(|| format!("application {of:?} has no {endpoint:?} relation"))?;
        let mut remote = own.clone();
        (remote.role, remote.limit) = (own.role.counterpart(), None);
        self.lock().applications.entry(name.to_owned()).or_insert_with(|| Application::new(None));
        let id = self.connect(vec![Side::new(of, own, None), Side::new(name, &remote, seen_as)])?;
        self.settle();
        Ok(id)
    }

    /// A unit that the test speaks for, such as `ams/0`, joins with this data in its bag, or changes its data: what is
    /// not named stays, and an empty value removes its key.
    pub fn remote_set(&mut self, relation: u32, unit: &str, data: &[(&str, &str)]) {
        {
            let mut state = self.lock();
            let side = scripted(&mut state, relation, application(unit));
            let member =
                side.units.entry(unit.to_owned()).or_insert(Member { bag: Bag::default(), in_scope: true });
            member.in_scope = true;
            member.bag.change(&changes(data));
        }
        self.settle();
    }

    /// The application that the test speaks for changes its own bag.
    pub fn remote_set_application(&mut self, relation: u32, name: &str, data: &[(&str, &str)]) {
        scripted(&mut self.lock(), relation, name).bag.change(&changes(data));
        self.settle();
    }

    /// A unit that the test speaks for goes.
    pub fn remote_depart(&mut self, relation: u32, unit: &str) {
        {
            let mut state = self.lock();
            let side = scripted(&mut state, relation, application(unit));
            side.units.get_mut(unit).unwrap().in_scope = false;
        }
        self.settle();
    }

    /// The bag of a unit or of an application, as the other side reads it.
    pub fn relation_data(&self, relation: u32, of: &str) -> BTreeMap<String, String> {
        let state = self.lock();
        let side = state.relations[&relation].own(application(of));
        if of.contains('/') {
            side.units.get(of).map_or_else(Data::new, |member| member.bag.data.clone())
        } else {
            side.bag.data.clone()
        }
    }

    /// The name that the charm knows the application at the other end of a relation by.
    pub fn seen_as(&self, relation: u32, application: &str) -> String {
        self.lock().relations[&relation].own(application).seen_as.clone()
    }
}

fn scripted<'a>(state: &'a mut super::state::State, relation: u32, name: &str) -> &'a mut Side {
    assert!(state.applications[name].charm.is_none(), "{name} has a charm that speaks for it");
    state.relations.get_mut(&relation).unwrap().own_mut(name)
}

fn changes(data: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    let some = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    data.iter().map(|(key, value)| ((*key).to_owned(), some(value))).collect()
}

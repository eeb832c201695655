//! Addresses and ports.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::super::JujuVersion;
use super::super::ports::PortRange;
use super::super::relations::application;
use super::super::state::host_network;
use super::arguments::Arguments;
use super::{Call, Output, Result, failed, relations, usage};

pub(super) fn get(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let Some(binding) = arguments.at_most(1)?.first() else { return usage("no arguments specified") };
    let relation = relations::given(call, arguments)?;
    let unit = call.state.unit(call.unit);
    if !unit.charm.endpoints.contains_key(binding) && !unit.charm.extra_bindings.contains(binding) {
        return failed(match call.state.version {
            JujuVersion::V3_6 => format!("no network config found for binding {binding:?}"),
            JujuVersion::V4_0 => format!("binding name {binding:?} not defined by the unit's charm"),
        });
    }
    let endpoint =
        relation.map_or(binding, |id| &call.state.relations[&id].own(application(call.unit)).endpoint.name);
    let (bind, ingress) = (unit.bind(endpoint), unit.ingress(endpoint));
    let egress = json!([host_network(ingress)]);
    let flags: Map<String, Value> = [
        ("bind-address", json!(bind)),
        ("egress-subnets", egress.clone()),
        ("ingress-address", json!(ingress)),
    ]
    .into_iter()
    .filter(|(flag, _)| arguments.flag(flag))
    .map(|(flag, value)| (flag.to_owned(), value))
    .collect();
    Ok(Output::Value(match flags.len() {
        0 => json!({
            "bind-addresses": [{
                "mac-address": "00:16:3e:00:00:01",
                "interface-name": "eth0",
                "addresses": [{"hostname": "", "value": bind, "cidr": local_network(bind)}],
            }],
            "egress-subnets": egress,
            "ingress-addresses": [ingress],
        }),
        1 => flags.into_iter().next().unwrap().1,
        _ => flags.into(),
    }))
}

/// The network that an address is part of, for addresses here without a machine's own notion of it.
fn local_network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V4(address)) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        Ok(IpAddr::V6(address)) => {
            format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        Err(_) => String::new(),
    }
}

pub(super) fn unit(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let address = &call.state.unit(call.unit).address;
    match arguments.at_most(1)?.first().map(String::as_str) {
        Some("private-address" | "public-address") => Ok(Output::Value(address.as_str().into())),
        Some(other) => usage(format!("unknown setting {other:?}")),
        None => usage("no setting specified"),
    }
}

fn endpoints(call: &Call, arguments: &Arguments) -> Result<Vec<String>> {
    let Some((_, list)) = arguments.option("endpoints") else { return Ok(vec![String::new()]) };
    let names: Vec<_> = list.split(',').map(|name| name.trim().to_owned()).collect();
    let charm = &call.state.unit(call.unit).charm;
    match names
        .iter()
        .find(|name| !charm.endpoints.contains_key(*name) && !charm.extra_bindings.contains(*name))
    {
        Some(unknown) => failed(format!("endpoint {unknown:?} not found")),
        None => Ok(names),
    }
}

fn range(arguments: &Arguments) -> Result<PortRange> {
    match arguments.at_most(1)? {
        [] => usage("no port or range specified"),
        [text, ..] => PortRange::parse(text).or_else(usage),
    }
}

fn refuse_conflict(call: &mut Call, verb: &str, range: &PortRange) -> Result<()> {
    let unit = call.unit;
    match call.context_mut().ports.values().flatten().find(|other| other.conflicts(range)) {
        Some(other) => failed(format!(
            "cannot {verb} {range} (unit {unit:?}): port range conflicts with {other} (unit {unit:?})"
        )),
        None => Ok(()),
    }
}

pub(super) fn open_port(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let range = range(arguments)?;
    let endpoints = endpoints(call, arguments)?;
    refuse_conflict(call, "open", &range)?;
    let ports = &mut call.context_mut().ports;
    for endpoint in endpoints {
        ports.entry(endpoint).or_default().insert(range);
    }
    Ok(Output::Nothing)
}

pub(super) fn close_port(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    let range = range(arguments)?;
    let endpoints = endpoints(call, arguments)?;
    refuse_conflict(call, "close", &range)?;
    let ports = &mut call.context_mut().ports;
    for (_, open) in
        ports.iter_mut().filter(|(endpoint, _)| endpoints[0].is_empty() || endpoints.contains(endpoint))
    {
        open.remove(&range);
    }
    Ok(Output::Nothing)
}

pub(super) fn opened_ports(call: &mut Call, arguments: &Arguments) -> Result<Output> {
    arguments.at_most(0)?;
    let ports = &call.context().ports;
    let all: BTreeSet<&PortRange> = ports.values().flatten().collect();
    let line = |range: &PortRange| {
        if !arguments.flag("endpoints") {
            return range.to_string();
        }
        let names: Vec<_> =
            ports.iter().filter(|(_, open)| open.contains(range)).map(|(name, _)| name.as_str()).collect();
        let names = if names.contains(&"") { "*".to_owned() } else { names.join(", ") };
        format!("{range} ({names})")
    };
    Ok(Output::Value(all.into_iter().map(line).collect()))
}

//! The same by drawing every connection, and every message of some time.

use std::collections::HashMap;

use fastrand::Rng;

use super::{Balancer, Flows, LOOK_SECONDS, Load, POLLS, TRANSPORTS};

/// An instance of a transport's component on a host, as one number.
type Instance = u32;

/// One feed: how many readers it has, and since when it waits.
#[derive(Clone, Copy)]
struct Feed {
    instance: Instance,
    readers: u32,
    since: f64,
}

/// Simulates so many seconds.
pub(super) fn run(load: &Load, nodes: u32, seconds: u32, mut random: Rng) -> Flows {
    let writers = connect(load, nodes, &mut random);
    let mut rooms = rooms(&writers, load.rooms as usize);
    let mut flows = Flows {
        feeds: rooms.iter().map(|feeds| feeds.len() as f64).sum(),
        ..Flows::default()
    };
    let end = f64::from(seconds);
    // What is before the first second is not counted: by then feeds wait for as long as they do at any time.
    let mut now = -3.0 * LOOK_SECONDS;
    for feed in rooms.iter_mut().flatten() {
        feed.since = now - random.f64() * LOOK_SECONDS;
    }
    let mut told = vec![0_u64; nodes as usize];
    loop {
        // The time to the next message has an exponential distribution.
        now -= (1.0 - random.f64()).ln() / load.messages;
        if now >= end {
            break;
        }
        let Some(writer) = random.choice(&writers) else {
            break;
        };
        let counts = if now < 0.0 { 0.0 } else { 1.0 };
        flows.messages += counts;
        // Who publishes may be served by any host, as a request of its own.
        let from = match load.balancer {
            Balancer::Any => random.u32(..nodes),
            Balancer::Channel => writer.instance / TRANSPORTS as u32,
        };
        for (node, told) in (0..).zip(&mut told) {
            *told += u64::from(node != from && now >= 0.0);
        }
        for feed in &mut rooms[writer.room] {
            flows.looks += looks(feed, now);
            flows.wakes += counts;
            feed.since = now;
            let readers = counts * f64::from(feed.readers);
            if feed.instance as usize % TRANSPORTS == POLLS {
                flows.polls += readers;
            } else {
                flows.deliveries += readers;
            }
        }
    }
    for feed in rooms.iter_mut().flatten() {
        flows.looks += looks(feed, end);
    }
    let names: u64 = told.iter().sum();
    Flows {
        feeds: flows.feeds,
        messages: flows.messages / end,
        wakes: flows.wakes / end,
        looks: flows.looks / end,
        deliveries: flows.deliveries / end,
        polls: flows.polls / end,
        names: names as f64 / f64::from(nodes) / end,
    }
}

/// How often a feed looked by itself since it began to wait, up to a moment, and not before the first second.
fn looks(feed: &Feed, now: f64) -> f64 {
    let until = |moment: f64| ((moment - feed.since) / LOOK_SECONDS).floor().max(0.0);
    until(now.max(0.0)) - until(0.0)
}

/// Where somebody is.
struct Connection {
    room: usize,
    instance: Instance,
}

fn connect(load: &Load, nodes: u32, random: &mut Rng) -> Vec<Connection> {
    let mut connections = Vec::with_capacity(load.connections as usize);
    // Which host a channel's hash names.
    let mut named: HashMap<usize, u32> = HashMap::new();
    for _ in 0..load.connections as usize {
        let room = random.usize(..load.rooms as usize);
        let node = match load.balancer {
            Balancer::Any => random.u32(..nodes),
            Balancer::Channel => *named.entry(room).or_insert_with(|| random.u32(..nodes)),
        };
        let mut drawn = random.f64();
        let mut transport = 0;
        while transport + 1 < TRANSPORTS && drawn >= load.shares[transport] {
            drawn -= load.shares[transport];
            transport += 1;
        }
        connections.push(Connection {
            room,
            instance: node * TRANSPORTS as u32 + transport as u32,
        });
    }
    connections
}

fn rooms(connections: &[Connection], count: usize) -> Vec<Vec<Feed>> {
    let mut rooms: Vec<Vec<Feed>> = vec![Vec::new(); count];
    for &Connection { room, instance } in connections {
        let feeds = &mut rooms[room];
        match feeds.iter_mut().find(|feed| feed.instance == instance) {
            Some(feed) => feed.readers += 1,
            None => feeds.push(Feed {
                instance,
                readers: 1,
                since: 0.0,
            }),
        }
    }
    rooms
}

//! The flows by formulas.

use super::{Balancer, Flows, LOOK_SECONDS, Load, POLLS};

/// Rooms with so many standard deviations more or fewer people than the mean are none.
const FAR: f64 = 12.0;

impl Load {
    /// What happens in a second on so many hosts.
    ///
    /// Each connection is in a room of its own choice: a room has k people as often as a Poisson distribution says. These
    /// k are at random in one of the instances among which its readers may be spread: one with the share p of all
    /// follows it unless all k are elsewhere, which has the probability (1 - p)^k. An instance that follows it reads when
    /// it is woken, or after fifteen seconds, whatever comes first: of messages at the rate r, r / (1 - e^-15r) times
    /// a second.
    pub(super) fn flows(&self, nodes: f64) -> Flows {
        let mean = self.connections / self.rooms;
        let each = self.messages / self.connections;
        let spread = match self.balancer {
            Balancer::Any => nodes,
            Balancer::Channel => 1.0,
        };
        let mut flows = Flows {
            messages: self.messages,
            names: self.messages * (nodes - 1.0) / nodes,
            ..Flows::default()
        };
        let far = FAR * mean.sqrt() + FAR;
        let first = (mean - far).floor().max(1.0);
        let mut people = first;
        // The logarithm of e^-mean mean^k / k!, from which each next one follows.
        let mut logarithm = first * mean.ln() - mean - factorial(first);
        while people <= mean + far {
            let rooms = self.rooms * logarithm.exp();
            let instances = self.shares.map(|share| {
                let none = (people * (-share / spread).ln_1p()).exp();
                spread * (1.0 - none)
            });
            let feeds = rooms * instances.iter().sum::<f64>();
            let rate = people * each;
            flows.feeds += feeds;
            flows.wakes += feeds * rate;
            flows.looks += feeds * rate * (1.0 / -(-rate * LOOK_SECONDS).exp_m1() - 1.0);
            let deliveries = rooms * rate * people;
            flows.polls += deliveries * self.shares[POLLS];
            flows.deliveries += deliveries * (1.0 - self.shares[POLLS]);
            people += 1.0;
            logarithm += (mean / people).ln();
        }
        flows
    }
}

/// The logarithm of a factorial.
fn factorial(number: f64) -> f64 {
    if number < 256.0 {
        return (2..=number as u32)
            .map(|factor| f64::from(factor).ln())
            .sum();
    }
    // Stirling's series: what is left out is smaller than the last digit.
    let circle = std::f64::consts::TAU;
    number * number.ln() - number + 0.5 * (circle * number).ln() + 1.0 / (12.0 * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_factorial_meet() {
        let sum: f64 = (2..=300).map(|factor| f64::from(factor).ln()).sum();
        assert!((factorial(300.0) - sum).abs() < 1e-6);
        assert!((factorial(5.0) - 120_f64.ln()).abs() < 1e-12);
    }
}

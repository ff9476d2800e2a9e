//! How long a task keeps its thread.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::instruments::Histogram;

/// A future, each of whose turns is observed.
pub(crate) struct Turns<'a, F> {
    future: Pin<Box<F>>,
    turns: &'a Histogram,
}

impl<'a, F: Future> Turns<'a, F> {
    pub(crate) fn of(future: F, turns: &'a Histogram) -> Self {
        Self {
            future: Box::pin(future),
            turns,
        }
    }
}

impl<F: Future> Future for Turns<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _timing = self.turns.time();
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_turn_is_observed_and_what_lies_between_is_not() {
        let turns = Histogram::default();
        let future = async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(Turns::of(future, &turns).await, 7);
        assert_eq!(turns.get().count(), 3);
    }
}

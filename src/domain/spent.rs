//! What calls to model providers cost: counted while a delivery is worked on, added up in the job's record and, by
//! provider, in the metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Usage;

/// Calls to model providers over all attempts of a job, and their tokens: as the providers counted them, else as
/// estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageTotal {
    /// Calls that were made.
    pub calls: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
    /// Tokens of both that came to nothing: of calls that failed or were called off, and of deliveries whose outcome
    /// was not kept.
    pub wasted_tokens: u64,
}

/// What one delivery has spent at one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderUsage {
    /// The provider's name.
    pub provider: String,
    /// Of calls that brought what was asked for.
    pub well: Usage,
    /// Of calls that failed or were called off.
    pub badly: Usage,
}

/// What one delivery has spent so far; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Spent(Arc<Mutex<Spending>>);

#[derive(Debug, Default)]
struct Spending {
    total: UsageTotal,
    /// Tokens of the calls that went well.
    well: u64,
    providers: Vec<ProviderUsage>,
}

impl Spent {
    fn spending(&self) -> MutexGuard<'_, Spending> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; `well` says whether it brought what was asked for.
    pub fn call(&self, provider: &str, usage: Usage, well: bool) {
        let mut spending = self.spending();
        spending.total.calls += 1;
        spending.total.prompt_tokens += usage.prompt_tokens;
        spending.total.completion_tokens += usage.completion_tokens;
        if well {
            spending.well += usage.prompt_tokens + usage.completion_tokens;
        }
        let known = spending.providers.iter().position(|known| known.provider == provider);
        let at = known.unwrap_or_else(|| {
            spending.providers.push(ProviderUsage { provider: provider.to_owned(), ..ProviderUsage::default() });
            spending.providers.len() - 1
        });
        let of = &mut spending.providers[at];
        let side = if well { &mut of.well } else { &mut of.badly };
        side.prompt_tokens += usage.prompt_tokens;
        side.completion_tokens += usage.completion_tokens;
        side.total_tokens += usage.prompt_tokens + usage.completion_tokens;
    }

    /// What was spent at each provider.
    pub fn by_provider(&self) -> Vec<ProviderUsage> {
        self.spending().providers.clone()
    }

    /// What was spent; `kept` says whether the delivery's outcome was kept.
    pub fn total(&self, kept: bool) -> UsageTotal {
        let spending = self.spending();
        let all = spending.total.prompt_tokens + spending.total.completion_tokens;
        UsageTotal { wasted_tokens: if kept { all.saturating_sub(spending.well) } else { all }, ..spending.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_nothing_is_wasted_and_all_is_if_the_outcome_is_not_kept() {
        let spent = Spent::default();
        let usage = |prompt_tokens| Usage { prompt_tokens, completion_tokens: 10, total_tokens: prompt_tokens + 10 };
        spent.clone().call("first", usage(100), false);
        spent.call("second", usage(200), true);
        let total = UsageTotal { calls: 2, prompt_tokens: 300, completion_tokens: 20, wasted_tokens: 110 };
        assert_eq!(spent.total(true), total);
        assert_eq!(spent.total(false), UsageTotal { wasted_tokens: 320, ..total });
        let [first, second] = &spent.by_provider()[..] else { panic!("two were called") };
        assert_eq!((first.provider.as_str(), first.well, first.badly), ("first", Usage::default(), usage(100)));
        assert_eq!((second.well, second.badly), (usage(200), Usage::default()));
    }
}

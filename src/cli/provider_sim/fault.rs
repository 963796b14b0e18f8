//! What goes wrong at the simulated provider: which calls a fault meets, and when. Pure.
//!
//! A fault is written the same way on the command line and in `PUT /sim/plan`: what happens, then its terms, such
//! as `500,share=0.1,from=60,for=30`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A chat completion.
    Chat,
    /// Vectors.
    Embeddings,
}

impl Operation {
    const ALL: [Self; 2] = [Self::Chat, Self::Embeddings];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// It is refused with this status, 400 to 599.
    Status(u16),
    /// It is refused because the account has no money left.
    Quota,
    /// The answer falls silent and the connection stays open.
    Stall,
    /// The connection ends in the middle of the answer.
    Cut,
    /// The answer turns into something that is none.
    Garbage,
}

/// A fault with its terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fault {
    pub(super) happening: Happening,
    /// Of so many of the calls it concerns; the calls it meets lie evenly among them.
    share: f64,
    /// From when on, in seconds since the plan was made.
    from: f64,
    /// For how long from there, in seconds; none: for ever.
    lasts: Option<f64>,
    /// Concerns only these calls; none: all.
    operation: Option<Operation>,
    /// Tokens that are said before it, where it happens in the middle of an answer.
    pub(super) after: u32,
    /// Sent as `Retry-After`, in seconds, where it is a refusal.
    pub(super) retry_after: Option<f64>,
}

impl Fault {
    /// Whether it happens to calls like this at this time since the plan was made.
    pub(super) fn concerns(&self, operation: Operation, since: Duration) -> bool {
        let at = since.as_secs_f64() - self.from;
        self.operation.is_none_or(|only| only == operation) && at >= 0.0 && self.lasts.is_none_or(|lasts| at < lasts)
    }

    /// Whether the `nth` call it concerns, from 1, is one of its share.
    pub(super) fn meets(&self, nth: u64) -> bool {
        // The sums of a share such as 0.1 must not fall short of a whole number.
        let met = |calls: u64| (calls as f64 * self.share + 1e-9).floor();
        nth > 0 && met(nth) > met(nth - 1)
    }
}

/// Seconds that a duration can be made of, up to a year.
fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds| (0.0..=31_536_000.0).contains(seconds))
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut terms = text.split(',').map(str::trim);
        let happening =
            match terms.next().unwrap_or_default() {
                "quota" => Happening::Quota,
                "stall" => Happening::Stall,
                "cut" => Happening::Cut,
                "garbage" => Happening::Garbage,
                word => Happening::Status(word.parse().ok().filter(|status| (400..600).contains(status)).ok_or_else(
                    || format!("{word:?} is neither a status of 400 to 599 nor quota, stall, cut, garbage"),
                )?),
            };
        let mut fault =
            Self { happening, share: 1.0, from: 0.0, lasts: None, operation: None, after: 3, retry_after: None };
        for term in terms {
            let (name, value) = term.split_once('=').ok_or_else(|| format!("{term:?} is no term=value"))?;
            let wrong = |must: &str| format!("{name} must be {must}, not {value:?}");
            let in_seconds = || seconds(value).ok_or_else(|| wrong("a number of seconds"));
            match name {
                "share" => {
                    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                    fault.share = share.ok_or_else(|| wrong("0 to 1"))?;
                }
                "from" => fault.from = in_seconds()?,
                "for" => fault.lasts = Some(in_seconds()?),
                "retry_after" => fault.retry_after = Some(in_seconds()?),
                "after" => fault.after = value.parse().map_err(|_| wrong("a number of tokens"))?,
                "on" => {
                    let operation = Operation::ALL.into_iter().find(|operation| operation.as_str() == value);
                    fault.operation = Some(operation.ok_or_else(|| wrong("chat or embeddings"))?);
                }
                _ => return Err(format!("{name:?} is none of share, from, for, on, after, retry_after")),
            }
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.happening {
            Happening::Status(status) => write!(f, "{status}")?,
            Happening::Quota => f.write_str("quota")?,
            Happening::Stall => write!(f, "stall,after={}", self.after)?,
            Happening::Cut => write!(f, "cut,after={}", self.after)?,
            Happening::Garbage => write!(f, "garbage,after={}", self.after)?,
        }
        write!(f, ",share={},from={}", self.share, self.from)?;
        if let Some(lasts) = self.lasts {
            write!(f, ",for={lasts}")?;
        }
        if let Some(operation) = self.operation {
            write!(f, ",on={}", operation.as_str())?;
        }
        match self.retry_after {
            Some(seconds) => write!(f, ",retry_after={seconds}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn a_fault_is_shown_as_it_can_be_written() {
        for text in ["500", "quota,on=chat", "stall,after=0", "cut,share=0.25", "429,retry_after=1.5,from=60,for=30"] {
            assert_eq!(fault(&fault(text).to_string()), fault(text), "{text}");
        }
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_with_the_term_that_is_wrong() {
        for (text, says) in [
            ("200", "\"200\" is neither"),
            ("slow", "\"slow\" is neither"),
            ("500,often", "\"often\" is no term=value"),
            ("500,share=2", "share must be 0 to 1"),
            ("500,for=-1", "for must be a number of seconds"),
            ("500,from=soon", "from must be a number of seconds"),
            ("cut,after=-1", "after must be a number of tokens"),
            ("cut,on=models", "on must be chat or embeddings"),
            ("500,until=3", "\"until\" is none of"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_is_exact_and_spread_evenly() {
        for (text, met) in [("500", 1_000), ("500,share=0.1", 100), ("500,share=0.333", 333), ("500,share=0", 0)] {
            assert_eq!((1..=1_000).filter(|nth| fault(text).meets(*nth)).count(), met, "{text}");
        }
        let met: Vec<u64> = (1..=30).filter(|nth| fault("500,share=0.1").meets(*nth)).collect();
        assert_eq!(met, [10, 20, 30]);
    }

    #[test]
    fn a_fault_happens_in_its_time_to_the_calls_it_is_for() {
        let outage = fault("500,from=60,for=30,on=chat");
        for (second, happens) in [(0, false), (59, false), (60, true), (89, true), (90, false)] {
            assert_eq!(outage.concerns(Operation::Chat, Duration::from_secs(second)), happens, "{second}");
        }
        assert!(!outage.concerns(Operation::Embeddings, Duration::from_secs(70)));
    }
}

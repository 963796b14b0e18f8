//! The arguments of `ragq provider-sim`.

use clap::Args;

use super::{fault::Fault, plan::Plan};
use crate::config;

/// Arguments of `ragq provider-sim`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A fault is what happens, then its terms:
  500               refused with this status (400 to 599); 401 is a refused key
  quota             refused because the account is empty (429)
  stall             the answer falls silent
  cut               the connection ends in the middle of the answer
  garbage           the answer turns into something that is none
  share=0.1         of so many of the calls
  from=60,for=30    from this second on, for so long
  on=chat           only these calls: chat or embeddings
  after=3           tokens that are said before a stall, a cut or garbage
  retry_after=2     seconds to be asked to wait, with a status

Examples:
  ragq provider-sim
  ragq provider-sim --requests-per-minute 500 --tokens-per-minute 200000
  ragq provider-sim --fault 429,share=0.1,retry_after=2 --fault cut,share=0.01
  ragq provider-sim --fault 500,from=60,for=60 --token-ms 0

Point ragq at it with OPENAI_BASE_URL=http://127.0.0.1:8090/v1. While it runs,
PUT /sim/plan changes it and GET /sim/stats says what it counted.")]
pub struct ProviderSimArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090", value_parser = parse_listen)]
    pub listen: String,
    /// Milliseconds until the first token of an answer, or until vectors
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub first_token_ms: u64,
    /// Milliseconds between two tokens
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub token_ms: u64,
    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub answer_tokens: u32,
    /// Length of vectors
    #[arg(long, value_name = "N", default_value_t = 384)]
    pub dimensions: u32,
    /// Demand this key; it is no secret
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Admit so many requests a minute
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u64>,
    /// Admit so many tokens a minute
    #[arg(
        long,
        value_name = "N",
        help = "Admit so many tokens a minute: the prompt and max_tokens, settled at the end of the call"
    )]
    pub tokens_per_minute: Option<u64>,
    /// Have this go wrong; may be given more than once, the first that meets a call happens
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Fault>,
}

impl ProviderSimArgs {
    /// The behaviour these arguments ask for; the error names the field that is out of its range.
    pub(super) fn plan(self) -> Result<Plan, String> {
        let plan = Plan {
            first_token_ms: self.first_token_ms,
            token_ms: self.token_ms,
            answer_tokens: self.answer_tokens,
            dimensions: self.dimensions,
            api_key: self.api_key,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            faults: self.faults,
        };
        plan.check().map(|()| plan)
    }
}

fn parse_listen(text: &str) -> Result<String, String> {
    let known = config::listen_address(text).map(|_| text.to_owned());
    known.ok_or_else(|| "must be an IP address and port, localhost:PORT, or :PORT for all addresses".to_owned())
}

//! `OpenAiEmbedder`: texts to vectors, by async-openai's client over our stack.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_openai::{
    Client,
    types::embeddings::{CreateEmbeddingRequest, EmbeddingInput, EncodingFormat},
};
use async_trait::async_trait;
use reqwest::Response;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use super::{
    SetupError,
    endpoint::Endpoint,
    error_body::ErrorBody,
    reading::media_type,
    stack::{
        self, Call, Clean, Stack, Transport, garbled, of_client, of_error_body, of_transport, place, ticket_of,
        without_echo,
    },
};
use crate::{
    config::settings,
    domain::{answer::Usage, failure::Failure},
    gate::{Cost, Gate},
    model::{Bounds, Embedder},
    text::tokens,
};

/// The largest reply that is read: far above what 2,048 texts of 3,072 dimensions take.
const MAX_REPLY: usize = 256 * 1024 * 1024;

/// Embeds by an OpenAI-compatible provider.
pub struct OpenAiEmbedder {
    http: reqwest::Client,
    endpoint: Endpoint,
    stack: Stack,
    model: String,
}

/// Read leniently: compatible servers leave out usage, object and index.
#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl OpenAiEmbedder {
    /// An embedder as the settings say, behind its gate; nothing is sent yet.
    pub fn new(model: &settings::Model, embedding: &settings::Embedding, gate: &Arc<Gate>) -> Result<Self, SetupError> {
        let name = embedding.model.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = name.ok_or(SetupError::EmbeddingModel)?.to_owned();
        let endpoint = Endpoint::new(model)?;
        let http = stack::client(Duration::from_millis(model.connect_timeout_ms))?;
        let call = Duration::from_millis(embedding.timeout_ms);
        let transport = stack::transport(http.clone(), endpoint.secret(), gate.clone());
        let transport = readable_only(transport, endpoint.secret());
        Ok(Self { stack: stack::stack(gate, call, transport), http, endpoint, model: name })
    }
}

/// `transport`, letting through only what async-openai can read, whole: it writes what it can't to the log, and
/// reads without a bound.
fn readable_only(transport: Transport, key: &str) -> Transport {
    let key = key.to_owned();
    BoxCloneSyncService::new(
        ServiceBuilder::new().and_then(move |response| readable(response, key.clone())).service(transport),
    )
}

async fn readable(mut response: Response, key: String) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        data: Option<Vec<IgnoredAny>>,
    }
    if media_type(&response).is_some_and(|kind| kind != "application/json") {
        return Err(garbled("it was not JSON"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| of_transport(error, true))? {
        if body.len() + chunk.len() > MAX_REPLY {
            return Err(garbled("it was too large"));
        }
        body.extend_from_slice(&chunk);
    }
    match serde_json::from_slice::<Shape>(&body) {
        Err(error) => Err(garbled("its JSON could not be read").with_source(place(&error))),
        Ok(Shape { error: None, data: Some(_) }) => Ok(http::Response::new(body).into()),
        Ok(_) => {
            let error = ErrorBody::of(&body);
            let described = error != ErrorBody::default();
            Err(if described {
                of_error_body(None, response.headers(), error, &key)
            } else {
                garbled("it held no vectors")
            })
        }
    }
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    fn model(&self) -> &str {
        &self.model
    }

    async fn embed(&self, texts: &[String], bounds: &Bounds) -> Result<Vec<Vec<f32>>, Failure> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let request = CreateEmbeddingRequest {
            model: self.model.clone(),
            input: EmbeddingInput::StringArray(texts.to_vec()),
            encoding_format: Some(EncodingFormat::Float),
            user: None,
            dimensions: None,
        };
        let sent: Arc<[String]> = texts.into();
        let clean: Clean = Arc::new(move |failure| without_echo(failure, sent.iter().map(String::as_str)));
        let ticket = Arc::new(Mutex::new(None));
        let (to_clean, brought) = (clean.clone(), ticket.clone());
        let tokens: usize = texts.iter().map(|text| tokens::estimate(text)).sum();
        let (cost, bounds) = (Cost { prompt: tokens as u64, longest_answer: 0 }, bounds.clone());
        let service = ServiceBuilder::new()
            .map_request(move |factory| Call {
                factory,
                prompt: Arc::from([]),
                cost,
                bounds: bounds.clone(),
                clean: to_clean.clone(),
            })
            .map_response(move |mut response: Response| {
                *brought.lock().unwrap_or_else(PoisonError::into_inner) = ticket_of(&mut response);
                response
            })
            .service(self.stack.clone());
        let client = Client::build(self.http.clone(), self.endpoint.clone()).with_http_service(service);
        let reply = client.embeddings().create_byot::<_, Reply>(request).await.map_err(of_client);
        let vectors = reply.and_then(|reply| {
            let counted = reply.usage.and_then(|usage| usage.prompt_tokens).unwrap_or(0);
            let usage = Usage { prompt_tokens: counted, completion_tokens: 0, total_tokens: counted };
            Ok((in_order(reply.data, texts.len())?, usage))
        });
        let ticket = ticket.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (vectors, ticket) {
            (Ok((vectors, usage)), ticket) => {
                if let Some(ticket) = ticket {
                    ticket.succeeded(usage);
                }
                Ok(vectors)
            }
            (Err(failure), Some(ticket)) => Err(ticket.failed(clean(failure))),
            (Err(failure), None) => Err(failure),
        }
    }
}

/// The vectors in the order of their texts.
fn in_order(items: Vec<Item>, texts: usize) -> Result<Vec<Vec<f32>>, Failure> {
    if items.len() != texts {
        return Err(garbled(&format!("it held {} vectors for {texts} texts", items.len())));
    }
    let dimensions = items.first().map_or(0, |item| item.embedding.len());
    if dimensions == 0 || items.iter().any(|item| item.embedding.len() != dimensions) {
        return Err(garbled("its vectors are not all of one length"));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (place, item) in items.into_iter().enumerate() {
        match vectors.get_mut(item.index.unwrap_or(place)) {
            Some(slot @ None) => *slot = Some(item.embedding),
            _ => return Err(garbled("its vectors are numbered wrongly")),
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::Code;

    fn item(index: Option<usize>, embedding: &[f32]) -> Item {
        Item { index, embedding: embedding.to_vec() }
    }

    #[test]
    fn vectors_come_in_the_order_of_their_texts() {
        let shuffled = vec![item(Some(1), &[2.0]), item(Some(0), &[1.0])];
        assert_eq!(in_order(shuffled, 2).unwrap(), [[1.0], [2.0]]);
        let unnumbered = vec![item(None, &[1.0]), item(None, &[2.0])];
        assert_eq!(in_order(unnumbered, 2).unwrap(), [[1.0], [2.0]]);
    }

    #[test]
    fn vectors_that_do_not_fit_the_texts_are_garbled() {
        for (items, texts) in [
            (vec![item(Some(0), &[1.0])], 2),
            (vec![item(Some(0), &[1.0]), item(Some(0), &[2.0])], 2),
            (vec![item(Some(0), &[1.0]), item(Some(2), &[2.0])], 2),
            (vec![item(Some(0), &[1.0]), item(Some(1), &[2.0, 3.0])], 2),
            (vec![item(Some(0), &[])], 1),
        ] {
            assert_eq!(in_order(items, texts).unwrap_err().code, Code::ProviderGarbled);
        }
    }
}

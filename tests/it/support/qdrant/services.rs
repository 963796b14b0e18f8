//! The wire: the generated service traits, each call admitted, then answered from the store.

use std::{collections::HashMap, sync::Arc};

use ::qdrant_client::qdrant::{
    collections_server::Collections, create_vector_name_request::VectorConfig, facet_value, point_id::PointIdOptions,
    points_selector::PointsSelectorOneOf, points_server::Points, qdrant_server, value::Kind,
    with_payload_selector::SelectorOptions, *,
};
use tonic::{Request, Response, Status};

use super::{
    Shared,
    filter::Sieve,
    store::{Store, id_text, invalid},
};

/// One connection's view of the server.
pub struct Service(pub Arc<Shared>);

/// Implements a service: what is answered, then what is refused.
macro_rules! service {
    ($service:path { $($call:ident: $request:ident => $reply:ident = $answer:expr;)* } refused { $($other:ident: $other_request:ident => $other_reply:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Service {
            $(async fn $call(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                self.0.admit(stringify!($call), request.metadata()).await?;
                let answer: fn(&mut Store, $request) -> Result<$reply, Status> = $answer;
                answer(&mut self.0.store(), request.into_inner()).map(Response::new)
            })*
            $(async fn $other(&self, _: Request<$other_request>) -> Result<Response<$other_reply>, Status> {
                Err(Status::unimplemented(concat!(stringify!($other), " is not made by ragq")))
            })*
        }
    };
}

service! {
    Points {
        upsert: UpsertPoints => PointsOperationResponse = |store, request| {
            store.collection(&request.collection_name)?.upsert(request.points)?;
            applied(request.wait)
        };
        delete: DeletePoints => PointsOperationResponse = |store, request| {
            let collection = store.collection(&request.collection_name)?;
            let Some(PointsSelectorOneOf::Filter(filter)) = request.points.and_then(|it| it.points_selector_one_of) else {
                return Err(invalid("points are deleted by filter"));
            };
            let sieve = Sieve::new(Some(filter), collection)?;
            collection.points.retain(|_, point| !sieve.lets_through(point));
            applied(request.wait)
        };
        get: GetPoints => GetResponse = |store, request| {
            let collection = store.collection(&request.collection_name)?;
            let mut result = Vec::new();
            for id in &request.ids {
                if let Some(point) = collection.points.get(&id_text(Some(id))?) {
                    let payload = selected(&point.payload, request.with_payload.as_ref());
                    result.push(RetrievedPoint { id: Some(id.clone()), payload, ..Default::default() });
                }
            }
            // Qdrant promises no order.
            result.reverse();
            Ok(GetResponse { result, ..Default::default() })
        };
        scroll: ScrollPoints => ScrollResponse = |store, request| {
            let collection = store.collection(&request.collection_name)?;
            let sieve = Sieve::new(request.filter, collection)?;
            let through = collection.points.iter().filter(|(_, point)| sieve.lets_through(point));
            let point = |(id, point): (&String, &super::store::Point)| RetrievedPoint {
                id: Some(point_id(id)),
                payload: selected(&point.payload, request.with_payload.as_ref()),
                ..Default::default()
            };
            let result = through.take(request.limit.unwrap_or(10) as usize).map(point).collect();
            Ok(ScrollResponse { result, ..Default::default() })
        };
        query: QueryPoints => QueryResponse = |store, request| {
            let collection = store.collection(&request.collection_name)?;
            let ranking = collection.rank(&request)?;
            let point = |(id, score): (String, f32)| ScoredPoint {
                id: Some(point_id(&id)),
                payload: selected(&collection.points[&id].payload, request.with_payload.as_ref()),
                score,
                ..Default::default()
            };
            Ok(QueryResponse { result: ranking.into_iter().map(point).collect(), ..Default::default() })
        };
        facet: FacetCounts => FacetResponse = |store, request| {
            let collection = store.collection(&request.collection_name)?;
            if collection.indexes.get(&request.key) != Some(&FieldType::Keyword.into()) {
                return Err(invalid("a facet wants a keyword index"));
            }
            let sieve = Sieve::new(request.filter, collection)?;
            let mut counts: HashMap<&str, u64> = HashMap::new();
            for point in collection.points.values().filter(|point| sieve.lets_through(point)) {
                if let Some(Kind::StringValue(value)) = point.payload.get(&request.key).and_then(|it| it.kind.as_ref()) {
                    *counts.entry(value).or_default() += 1;
                }
            }
            let hit = |(value, count): (&str, u64)| FacetHit {
                value: Some(FacetValue { variant: Some(facet_value::Variant::StringValue(value.into())) }),
                count,
            };
            let hits = counts.into_iter().map(hit).take(request.limit.unwrap_or(10) as usize).collect();
            Ok(FacetResponse { hits, ..Default::default() })
        };
        create_field_index: CreateFieldIndexCollection => PointsOperationResponse = |store, request| {
            let kind = request.field_type.ok_or_else(|| invalid("field type is missing"))?;
            store.collection(&request.collection_name)?.indexes.insert(request.field_name, kind);
            applied(request.wait)
        };
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse = |store, request| {
            let Some(VectorConfig::DenseConfig(config)) = request.vector_config else {
                return Err(invalid("a dense vector is wanted"));
            };
            let collection = store.collection(&request.collection_name)?;
            collection.add_dense(&request.vector_name, config.size, config.distance())?;
            applied(request.wait)
        };
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse = |store, request| {
            store.collection(&request.collection_name)?.remove_dense(&request.vector_name)?;
            applied(request.wait)
        };
    }
    refused {
        update_vectors: UpdatePointVectors => PointsOperationResponse;
        delete_vectors: DeletePointVectors => PointsOperationResponse;
        set_payload: SetPayloadPoints => PointsOperationResponse;
        overwrite_payload: SetPayloadPoints => PointsOperationResponse;
        delete_payload: DeletePayloadPoints => PointsOperationResponse;
        clear_payload: ClearPayloadPoints => PointsOperationResponse;
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse;
        search: SearchPoints => SearchResponse;
        search_batch: SearchBatchPoints => SearchBatchResponse;
        search_groups: SearchPointGroups => SearchGroupsResponse;
        recommend: RecommendPoints => RecommendResponse;
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse;
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse;
        discover: DiscoverPoints => DiscoverResponse;
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse;
        count: CountPoints => CountResponse;
        update_batch: UpdateBatchPoints => UpdateBatchResponse;
        query_batch: QueryBatchPoints => QueryBatchResponse;
        query_groups: QueryPointGroups => QueryGroupsResponse;
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse;
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse;
    }
}

service! {
    Collections {
        get: GetCollectionInfoRequest => GetCollectionInfoResponse = |store, request| {
            let info = store.collection(&request.collection_name)?.info();
            Ok(GetCollectionInfoResponse { result: Some(info), ..Default::default() })
        };
        create: CreateCollection => CollectionOperationResponse = |store, request| {
            store.create(request)?;
            Ok(CollectionOperationResponse { result: true, ..Default::default() })
        };
        collection_exists: CollectionExistsRequest => CollectionExistsResponse = |store, request| {
            let exists = store.has(&request.collection_name);
            Ok(CollectionExistsResponse { result: Some(CollectionExists { exists }), ..Default::default() })
        };
    }
    refused {
        list: ListCollectionsRequest => ListCollectionsResponse;
        update: UpdateCollection => CollectionOperationResponse;
        delete: DeleteCollection => CollectionOperationResponse;
        update_aliases: ChangeAliases => CollectionOperationResponse;
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse;
        list_aliases: ListAliasesRequest => ListAliasesResponse;
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse;
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse;
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse;
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse;
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse;
    }
}

service! {
    qdrant_server::Qdrant {
        health_check: HealthCheckRequest => HealthCheckReply = |_, _| {
            Ok(HealthCheckReply { title: "a small Qdrant".into(), version: "1.18.3".into(), commit: None })
        };
    }
    refused {}
}

/// The answer to a write that was waited for, as every write of ragq is.
fn applied(wait: Option<bool>) -> Result<PointsOperationResponse, Status> {
    if wait != Some(true) {
        return Err(invalid("writes are to be waited for"));
    }
    let result = UpdateResult { status: UpdateStatus::Completed.into(), ..Default::default() };
    Ok(PointsOperationResponse { result: Some(result), ..Default::default() })
}

fn point_id(id: &str) -> PointId {
    PointId { point_id_options: Some(PointIdOptions::Uuid(id.to_owned())) }
}

fn selected(payload: &HashMap<String, Value>, wanted: Option<&WithPayloadSelector>) -> HashMap<String, Value> {
    match wanted.and_then(|wanted| wanted.selector_options.as_ref()) {
        Some(SelectorOptions::Enable(true)) => payload.clone(),
        Some(SelectorOptions::Include(only)) => {
            let named = |(key, _): &(&String, &Value)| only.fields.contains(key);
            payload.iter().filter(named).map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        _ => HashMap::new(),
    }
}

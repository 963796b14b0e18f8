//! What the small Qdrant holds: collections, their vectors' names and sizes, and points by id.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{
    CollectionConfig, CollectionInfo, CollectionParams, CreateCollection, Distance, PayloadSchemaInfo, PointId,
    PointStruct, SparseVectorConfig, SparseVectorParams, Value, VectorParams, VectorParamsMap, VectorsConfig,
    point_id::PointIdOptions, vector::Vector as Kind, vectors::VectorsOptions, vectors_config::Config,
};
use tonic::Status;

/// A point as it is kept.
#[derive(Clone)]
pub struct Point {
    pub payload: HashMap<String, Value>,
    /// Of length one, as is done for cosine.
    pub dense: HashMap<String, Vec<f32>>,
    pub sparse: HashMap<String, BTreeMap<u32, f32>>,
}

/// A collection.
#[derive(Default)]
pub struct Collection {
    pub dense: BTreeMap<String, usize>,
    sparse: HashMap<String, SparseVectorParams>,
    /// Fields with an index, and its type.
    pub indexes: HashMap<String, i32>,
    pub points: BTreeMap<String, Point>,
}

/// All collections.
#[derive(Default)]
pub struct Store(HashMap<String, Collection>);

impl Store {
    pub fn collection(&mut self, name: &str) -> Result<&mut Collection, Status> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.0.get_mut(name).ok_or_else(missing)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn create(&mut self, request: CreateCollection) -> Result<(), Status> {
        let name = request.collection_name;
        if self.has(&name) {
            return Err(invalid(&format!("Collection `{name}` already exists!")));
        }
        let mut collection = Collection::default();
        match request.vectors_config.and_then(|config| config.config) {
            Some(Config::ParamsMap(named)) => {
                for (name, params) in named.map {
                    collection.add_dense(&name, params.size, params.distance())?;
                }
            }
            Some(Config::Params(_)) => return Err(invalid("the vectors should be named")),
            None => {}
        }
        collection.sparse = request.sparse_vectors_config.unwrap_or_default().map;
        self.0.insert(name, collection);
        Ok(())
    }
}

impl Collection {
    pub fn add_dense(&mut self, name: &str, size: u64, distance: Distance) -> Result<(), Status> {
        if name.len() > 200 || name.contains(['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0']) {
            return Err(invalid("vector name"));
        }
        if distance != Distance::Cosine || size == 0 {
            return Err(invalid("cosine is wanted"));
        }
        self.dense.insert(name.to_owned(), size as usize);
        Ok(())
    }

    pub fn remove_dense(&mut self, name: &str) -> Result<(), Status> {
        self.dense.remove(name).ok_or_else(|| unknown_vector(name))?;
        for point in self.points.values_mut() {
            point.dense.remove(name);
        }
        Ok(())
    }

    /// Puts the points in place of those with the same ids; none if one of them is wrong.
    pub fn upsert(&mut self, points: Vec<PointStruct>) -> Result<(), Status> {
        let points = points.into_iter().map(|point| self.read(point)).collect::<Result<Vec<_>, _>>()?;
        self.points.extend(points);
        Ok(())
    }

    fn read(&self, point: PointStruct) -> Result<(String, Point), Status> {
        let id = id_text(point.id.as_ref())?;
        let mut read = Point { payload: point.payload, dense: HashMap::new(), sparse: HashMap::new() };
        let vectors = match point.vectors.and_then(|vectors| vectors.vectors_options) {
            Some(VectorsOptions::Vectors(named)) => named.vectors,
            Some(VectorsOptions::Vector(_)) => return Err(unknown_vector("")),
            None => HashMap::new(),
        };
        for (name, vector) in vectors {
            match vector.vector {
                Some(Kind::Dense(dense)) => {
                    self.check_dense(&name, dense.data.len())?;
                    read.dense.insert(name, unit(dense.data));
                }
                Some(Kind::Sparse(sparse)) => {
                    self.check_sparse(&name)?;
                    let vector = sparse_vector(&sparse.indices, &sparse.values)?;
                    read.sparse.insert(name, vector);
                }
                other => return Err(invalid(&format!("unexpected vector {other:?}"))),
            }
        }
        Ok((id, read))
    }

    pub fn check_dense(&self, name: &str, length: usize) -> Result<(), Status> {
        match self.dense.get(name) {
            None => Err(unknown_vector(name)),
            Some(expected) if *expected != length => {
                Err(invalid(&format!("Vector dimension error: expected dim: {expected}, got {length}")))
            }
            Some(_) => Ok(()),
        }
    }

    pub fn check_sparse(&self, name: &str) -> Result<(), Status> {
        self.sparse.get(name).map(|_| ()).ok_or_else(|| unknown_vector(name))
    }

    pub fn info(&self) -> CollectionInfo {
        let size =
            |size: usize| VectorParams { size: size as u64, distance: Distance::Cosine.into(), ..Default::default() };
        let map = self.dense.iter().map(|(name, length)| (name.clone(), size(*length))).collect();
        let params = CollectionParams {
            vectors_config: Some(VectorsConfig { config: Some(Config::ParamsMap(VectorParamsMap { map })) }),
            sparse_vectors_config: Some(SparseVectorConfig { map: self.sparse.clone() }),
            ..Default::default()
        };
        let index = |kind: i32| PayloadSchemaInfo { data_type: kind + 1, ..Default::default() };
        CollectionInfo {
            config: Some(CollectionConfig { params: Some(params), ..Default::default() }),
            payload_schema: self.indexes.iter().map(|(field, kind)| (field.clone(), index(*kind))).collect(),
            points_count: Some(self.points.len() as u64),
            ..Default::default()
        }
    }
}

/// A UUID as text: the only ids that are taken here.
pub fn id_text(id: Option<&PointId>) -> Result<String, Status> {
    let Some(PointIdOptions::Uuid(text)) = id.and_then(|id| id.point_id_options.as_ref()) else {
        return Err(invalid("a point has no UUID"));
    };
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    if groups != [8, 4, 4, 4, 12] || !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
        return Err(Status::invalid_argument(format!("Unable to parse UUID: {text}")));
    }
    Ok(text.clone())
}

pub fn sparse_vector(indices: &[u32], values: &[f32]) -> Result<BTreeMap<u32, f32>, Status> {
    let vector: BTreeMap<u32, f32> = indices.iter().copied().zip(values.iter().copied()).collect();
    if vector.len() != indices.len() || indices.len() != values.len() {
        return Err(invalid("indices must be unique and as many as values"));
    }
    Ok(vector)
}

pub fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 { vector.into_iter().map(|x| x / length).collect() } else { vector }
}

pub fn invalid(what: &str) -> Status {
    Status::invalid_argument(format!("Wrong input: {what}"))
}

pub fn unknown_vector(name: &str) -> Status {
    invalid(&format!("Not existing vector name error: {name}"))
}

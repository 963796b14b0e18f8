//! The scripted provider's side of the sockets.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    Call, Counts, Script,
    reply::{Reply, Step},
};

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

pub(super) async fn accept(listener: TcpListener, script: Arc<Mutex<Script>>, counts: Arc<watch::Sender<Counts>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        socket.set_nodelay(true).unwrap();
        counts.send_modify(|counts| counts.connections += 1);
        connections.spawn(serve(socket, Arc::clone(&script), Arc::clone(&counts)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<Script>>, counts: Arc<watch::Sender<Counts>>) {
    let mut buffer = Vec::new();
    while let Some(call) = receive(&mut socket, &mut buffer).await {
        let reply = {
            let mut script = script.lock().unwrap();
            script.calls.push(call.clone());
            let reply = script.next(&call);
            if reply.is_none() {
                script.unexpected.push(call.target.clone());
            }
            reply
        };
        counts.send_modify(|counts| {
            counts.calls += 1;
            counts.in_flight += 1;
            counts.max_in_flight = counts.max_in_flight.max(counts.in_flight);
        });
        let reply = reply.unwrap_or_else(|| Reply::error(500, "unscripted", "nobody expected this call"));
        let end = play(&mut socket, reply.steps(&call)).await;
        counts.send_modify(|counts| {
            counts.in_flight -= 1;
            counts.disconnects += usize::from(end == End::Disconnected);
        });
        if end != End::Whole {
            return;
        }
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Whole,
    Closed,
    Disconnected,
}

async fn play(socket: &mut TcpStream, steps: Vec<Step>) -> End {
    for step in steps {
        let gone = match step {
            Step::Head => unreachable!("written out by Reply::steps"),
            Step::Write(bytes) => socket.write_all(&bytes).await.is_err(),
            Step::Pause(delay) => {
                tokio::select! { () = gone(socket) => true, () = tokio::time::sleep(delay) => false }
            }
            Step::Wait(gate) => {
                let mut opened = gate.watch();
                tokio::select! { () = gone(socket) => true, _ = opened.wait_for(|open| *open) => false }
            }
            Step::Stall => {
                gone(socket).await;
                true
            }
            Step::Reset => {
                socket.set_zero_linger().unwrap();
                return End::Closed;
            }
            Step::Close => return End::Closed,
        };
        if gone {
            return End::Disconnected;
        }
    }
    End::Whole
}

/// When the caller goes away. Nothing else can come: no caller pipelines.
async fn gone(socket: &mut TcpStream) {
    let mut byte = [0];
    while let Ok(1) = socket.read(&mut byte).await {}
}

async fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if buffer.first() == Some(&TLS_HANDSHAKE) {
            // As servers without TLS do.
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.ok()?;
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap()))
        .collect();
    let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    let whole = head_end + 4 + length;
    while buffer.len() < whole {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&buffer[head_end + 4..whole]).unwrap_or(Value::Null);
    buffer.drain(..whole);
    Some(Call { target, headers, body })
}

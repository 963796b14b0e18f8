//! Being let in: passwords, rights, certificates.

use std::{path::Path, process::Command};

use ragq::queue::redis::link::{Confirm, Link, LinkError};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use super::{call, link, mark, options};
use crate::support::redis::Server;

/// A user with these rules on a server that lets nobody else in but this test.
async fn user(server: &Server, rules: &[&str]) -> String {
    let mut client = server.client().await;
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("app").arg("reset").arg("on").arg(">sword@fish").arg(rules);
    let () = command.query_async(&mut client).await.unwrap();
    format!("redis://app:sword%40fish@127.0.0.1:{}/", server.port())
}

#[tokio::test]
async fn a_user_with_the_needed_rights_is_all_it_takes() {
    let server = Server::start(&[]).await;
    let rights = ["~{ragq}:*", "&{ragq}:*", "+evalsha", "+script|load", "+info", "+hincrby", "+subscribe"];
    let url = user(&server, &rights).await;
    let link = link(url);
    assert_eq!(link.check().await.unwrap(), []);
    call(&link, "call").await;
    link.pubsub().await.unwrap().subscribe("{ragq}:wake").await.unwrap();
    link.dedicated().await.unwrap();
}

#[tokio::test]
async fn a_missing_right_is_named_at_once_and_nothing_secret_is_shown() {
    let server = Server::start(&[]).await;
    for (rules, named) in [
        (&["~*", "&*", "+@all", "-evalsha"][..], "evalsha"),
        (&["~*", "&*", "+@all", "-script"][..], "script"),
        (&["~*", "&*", "+@all", "-hincrby"][..], "user executing the script"),
        (&["~other:*", "&*", "+@all"][..], "key"),
    ] {
        let url = user(&server, rules).await;
        // The script is only asked for when the server lacks it.
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut server.client().await).await.unwrap();
        let error = mark(&link(url), "call", Confirm::No).await.unwrap_err();
        assert!(matches!(error, LinkError::Denied(_)), "{error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
        assert!(!format!("{error:?}").contains("fish"), "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_are_told_at_once() {
    let server = Server::start(&[("requirepass", "swordfish")]).await;
    let at = format!("127.0.0.1:{}/", server.port());
    for (url, code) in [
        (format!("redis://{at}"), "NOAUTH"),
        (format!("redis://:wordfish@{at}"), "WRONGPASS"),
        (format!("redis://app:swordfish@{at}"), "WRONGPASS"),
    ] {
        let link = link(url);
        for error in [mark(&link, "call", Confirm::No).await.unwrap_err(), link.check().await.unwrap_err()] {
            assert!(matches!(error, LinkError::Denied(_)), "{error}");
            assert!(error.to_string().contains(code) && !error.to_string().contains("fish"), "{error}");
        }
    }
    call(&link(format!("redis://:swordfish@{at}")), "call").await;
    let open = Server::start(&[]).await;
    let error = mark(&link(format!("redis://:wordfish@127.0.0.1:{}/", open.port())), "call", Confirm::No).await;
    assert!(matches!(error, Err(LinkError::Denied(_))), "a password for a server that asks for none: {error:?}");
}

#[tokio::test]
async fn the_database_of_the_url_is_the_one_that_is_used() {
    let server = Server::start(&[]).await;
    call(&link(format!("{}3", server.url())), "call").await;
    let mut client = crate::support::redis::connect(&format!("{}3", server.url())).await;
    let there: bool = redis::cmd("EXISTS").arg(super::KEY).query_async(&mut client).await.unwrap();
    assert!(there);
    let error = mark(&link(format!("{}99", server.url())), "call", Confirm::No).await.unwrap_err();
    assert!(matches!(error, LinkError::Broken(_)), "{error}");
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// An authority of our own and a certificate for `localhost` that it signed.
fn certificates(folder: &Path) {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {curve} -days 2 -keyout ca.key -out ca.pem -subj /CN=authority"));
    openssl(folder, &format!("req {curve} -keyout server.key -out server.csr -subj /CN=server"));
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
}

#[tokio::test]
async fn a_server_with_a_certificate_of_a_named_authority_is_reached_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls_port = crate::support::redis::free_port();
    let server = Server::start(&[
        ("tls-port", &tls_port.to_string()),
        ("tls-cert-file", &path("server.pem")),
        ("tls-key-file", &path("server.key")),
        ("tls-ca-cert-file", &path("ca.pem")),
        ("tls-auth-clients", "no"),
    ])
    .await;
    let mut trusting = options(format!("rediss://localhost:{tls_port}/"));
    trusting.tls_ca_file = Some(folder.path().join("ca.pem"));
    let link = Link::new(trusting.clone()).unwrap();
    call(&link, "call").await;
    link.pubsub().await.unwrap();
    let there: bool = redis::cmd("EXISTS").arg(super::KEY).query_async(&mut server.client().await).await.unwrap();
    assert!(there, "it is this server");

    let mut distrusting = trusting.clone();
    distrusting.tls_ca_file = None;
    distrusting.patience = std::time::Duration::from_millis(100);
    let error = mark(&Link::new(distrusting).unwrap(), "call", Confirm::No).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    for (name, content) in [("nothing.pem", None), ("empty.pem", Some(""))] {
        if let Some(content) = content {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut wrong = trusting.clone();
        wrong.tls_ca_file = Some(folder.path().join(name));
        let error = Link::new(wrong).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_strangers_and_hangs_up_is_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    // As a server in protected mode does to whoever comes from another machine.
    let refusing = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let words = "-DENIED Redis is running in protected mode because no password is set. In this mode\r\n";
            stream.write_all(words.as_bytes()).await.unwrap();
        }
    };
    let link = link(url);
    let error = tokio::select! {
        error = link.check() => error.unwrap_err(),
        () = refusing => unreachable!("it goes on"),
    };
    assert!(matches!(error, LinkError::Denied(_)), "{error:?}");
    let says = "Redis denies access: DENIED Redis is running in protected mode because no password is set";
    assert_eq!(error.to_string(), says);
}

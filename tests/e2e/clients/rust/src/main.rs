//! A small client on the stack of Element X: sliding sync for the list of rooms and for encryption.
//!
//! It takes commands on standard input, one a line, and prints what happens as JSON, one object a line.

#![recursion_limit = "256"]

use std::{collections::HashSet, io::Write, sync::Arc};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use matrix_sdk::{
    Client, Room, RoomState,
    event_handler::Ctx,
    ruma::{
        OwnedEventId, OwnedRoomId, OwnedUserId,
        events::room::{member::StrippedRoomMemberEvent, message::RoomMessageEventContent},
    },
    sliding_sync::VersionBuilder,
};
use matrix_sdk_ui::{
    room_list_service::{RoomList, filters::new_filter_non_left},
    sync_service::{State, SyncService},
    timeline::{RoomExt, TimelineItem},
};

fn tell(what: &str, fields: &[(&str, &str)]) {
    let mut line = format!("{{\"what\": {what:?}");
    for (name, value) in fields {
        line.push_str(&format!(", {name:?}: {}", serde_json::Value::from(*value)));
    }
    println!("{line}}}");
    std::io::stdout().flush().ok();
}

/// Tells each message of a room once, as soon as it can be read: its keys may come after it.
async fn watch(room: Room) -> Result<()> {
    let timeline = room.timeline().await?;
    tell("opened", &[("room", room.room_id().as_str())]);
    let (items, changes) = timeline.subscribe().await;
    let mut told = HashSet::new();
    tell_messages(&room, items.iter(), &mut told);
    futures_util::pin_mut!(changes);
    while changes.next().await.is_some() {
        tell_messages(&room, timeline.items().await.iter(), &mut told);
    }
    Ok(())
}

fn tell_messages<'a>(
    room: &Room,
    items: impl Iterator<Item = &'a Arc<TimelineItem>>,
    told: &mut HashSet<OwnedEventId>,
) {
    for event in items.filter_map(|item| item.as_event()) {
        let (Some(event_id), Some(message)) = (event.event_id(), event.content().as_message())
        else {
            continue;
        };
        if told.insert(event_id.to_owned()) {
            let fields = [
                ("room", room.room_id().as_str()),
                ("sender", event.sender().as_str()),
            ];
            tell("message", &[fields[0], fields[1], ("body", message.body())]);
        }
    }
}

async fn on_invite(event: StrippedRoomMemberEvent, room: Room, me: Ctx<OwnedUserId>) {
    if event.state_key == *me && room.state() == RoomState::Invited {
        tell("invited", &[("room", room.room_id().as_str())]);
    }
}

async fn obey(client: &Client, service: &SyncService, line: &str) -> Result<bool> {
    let mut words = line.splitn(3, ' ');
    let (command, first) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let rest = words.next().unwrap_or_default();
    match command {
        "dm" => {
            let user_id: OwnedUserId = first.try_into()?;
            let room = client.create_dm(&user_id).await?;
            tell("created", &[("room", room.room_id().as_str())]);
        }
        "join" => {
            let room_id: OwnedRoomId = first.try_into()?;
            client.join_room_by_id(&room_id).await?;
            tell("joined", &[("room", first)]);
        }
        "open" => {
            let room_id: OwnedRoomId = first.try_into()?;
            service
                .room_list_service()
                .subscribe_to_rooms(&[&room_id])
                .await;
            let room = client.get_room(&room_id).context("the room isn't known")?;
            tokio::spawn(watch(room));
        }
        "send" => {
            let room_id: OwnedRoomId = first.try_into()?;
            let room = client.get_room(&room_id).context("the room isn't known")?;
            room.send(RoomMessageEventContent::text_plain(rest)).await?;
            tell("sent", &[("room", first), ("body", rest)]);
        }
        "rooms" => {
            for room in client.rooms() {
                let name = room
                    .display_name()
                    .await
                    .map(|name| name.to_string())
                    .unwrap_or_default();
                let state = format!("{:?}", room.state());
                let encrypted = room.encryption_state().is_encrypted().to_string();
                let fields = [
                    ("room", room.room_id().as_str()),
                    ("name", &name),
                    ("state", &state),
                ];
                tell(
                    "room",
                    &[fields[0], fields[1], fields[2], ("encrypted", &encrypted)],
                );
            }
            tell("rooms", &[]);
        }
        "quit" => return Ok(false),
        _ => bail!("unknown command {command}"),
    }
    Ok(true)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, user, password] = &arguments[..] else {
        bail!("URL USER PASSWORD")
    };
    let client = Client::builder()
        .homeserver_url(url)
        .sliding_sync_version_builder(VersionBuilder::DiscoverNative)
        .build()
        .await?;
    client
        .matrix_auth()
        .login_username(user, password)
        .initial_device_display_name("rust")
        .await?;
    let me = client.user_id().context("not logged in")?.to_owned();
    client.add_event_handler_context(me.clone());
    client.add_event_handler(on_invite);
    let service = SyncService::builder(client.clone()).build().await?;
    let list: &'static RoomList =
        Box::leak(Box::new(service.room_list_service().all_rooms().await?));
    let (entries, controller) = list.entries_with_dynamic_adapters(100);
    controller.set_filter(Box::new(new_filter_non_left()));
    let mut states = service.state();
    tokio::spawn(async move {
        while let Some(state) = states.next().await {
            let name = match state {
                State::Idle => "idle",
                State::Running => "running",
                State::Terminated => "terminated",
                State::Offline => "offline",
                State::Error(_) => "error",
            };
            tell("state", &[("state", name)]);
        }
    });
    tokio::spawn(async move {
        futures_util::pin_mut!(entries);
        while let Some(changes) = entries.next().await {
            tell("list", &[("changes", &changes.len().to_string())]);
        }
    });
    service.start().await;
    tell("started", &[("user", me.as_str())]);
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    while let Some(line) = lines.recv().await {
        match obey(&client, &service, &line).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => tell("failed", &[("why", &format!("{error:#}"))]),
        }
    }
    service.stop().await;
    client.matrix_auth().logout().await?;
    tell("ended", &[]);
    Ok(())
}

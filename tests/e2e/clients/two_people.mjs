// Two people with matrix-js-sdk: `node two_people.mjs URL`. Ends with 0 if all went as it should.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as sdk from "matrix-js-sdk";

const url = process.argv[2];
const PATIENCE_MS = 60_000;
const quiet = new Proxy({}, { get: (_, name) => (name === "getChild" ? () => quiet : () => {}) });

function patiently(what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what} did not happen`)), PATIENCE_MS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function next(client, name, wanted) {
    return patiently(
        name,
        new Promise((resolve) => {
            const listen = (...found) => {
                if (!wanted(...found)) return;
                client.off(name, listen);
                resolve(found);
            };
            client.on(name, listen);
        }),
    );
}

async function register(name) {
    const username = `${name}-${randomBytes(4).toString("hex")}`;
    const nobody = sdk.createClient({ baseUrl: url, logger: quiet });
    await nobody.registerRequest({ username, password: "correct horse", auth: { type: "m.login.dummy" } });
    const session = await nobody.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: username },
        password: "correct horse",
    });
    const client = sdk.createClient({
        baseUrl: url,
        userId: session.user_id,
        deviceId: session.device_id,
        accessToken: session.access_token,
        logger: quiet,
    });
    const prepared = next(client, "sync", (state) => state === "PREPARED");
    await client.startClient({ initialSyncLimit: 10, threadSupport: true });
    await prepared;
    return client;
}

const says = (text) => (event) => event.getContent().body === text && !event.status;

const [alice, bob] = await Promise.all([register("alice"), register("bob")]);

// A room, an invite, a join.
const invited = next(bob, "Room.myMembership", (_room, membership) => membership === "invite");
const { room_id: roomId } = await alice.createRoom({ name: "Tea", preset: "private_chat", invite: [bob.getUserId()] });
await invited;
const came = next(alice, "RoomMember.membership", (_event, member) => member.userId === bob.getUserId() && member.membership === "join");
await bob.joinRoom(roomId);
await came;
assert.equal(alice.getRoom(roomId).name, "Tea");

// A message there and an answer in a thread.
const heard = next(bob, "Room.timeline", says("Tea?"));
const { event_id: question } = await alice.sendTextMessage(roomId, "Tea?");
assert.equal((await heard)[0].getId(), question);
const answered = next(alice, "Room.timeline", says("In the thread"));
await bob.sendTextMessage(roomId, question, "In the thread");
const [answer] = await answered;
assert.equal(answer.threadRootId, question);

// Typing, and a receipt.
const typing = next(alice, "RoomMember.typing", (_event, member) => member.userId === bob.getUserId() && member.typing);
await bob.sendTyping(roomId, true, 20_000);
await typing;
const read = next(alice, "Room.receipt", (event) => Boolean(event.getContent()[question]?.["m.read"]?.[bob.getUserId()]));
await bob.sendReadReceipt(bob.getRoom(roomId).findEventById(question));
await read;

// A redaction, and state.
const topic = next(bob, "RoomState.events", (event) => event.getType() === "m.room.topic");
await alice.setRoomTopic(roomId, "What to drink");
await topic;
const redacted = next(bob, "Room.redaction", (event) => event.getAssociatedId() === question);
await alice.redactEvent(roomId, question);
await redacted;

// An event that is sent later, one that is restarted and sent early, and one that is cancelled.
const late = next(bob, "Room.timeline", says("later"));
const delayed = (body, delay) =>
    alice._unstable_sendDelayedEvent(roomId, { delay }, null, "m.room.message", { msgtype: "m.text", body });
await delayed("later", 1_500);
const { delay_id: cancelled } = await delayed("never", 3_000);
const { delay_id: early } = await delayed("early", 86_000_000);
const soon = next(bob, "Room.timeline", says("early"));
await alice._unstable_updateDelayedEvent(early, "restart");
await alice._unstable_updateDelayedEvent(cancelled, "cancel");
await alice._unstable_updateDelayedEvent(early, "send");
await soon;
await late;
await assert.rejects(alice._unstable_updateDelayedEvent(cancelled, "restart"), { errcode: "M_NOT_FOUND" });
assert.deepEqual(await alice._unstable_getDelayedEvents(), { delayed_events: [] });

// Search, the user directory, rooms in common.
assert.equal((await alice.searchUserDirectory({ term: bob.getUserId() })).results[0].user_id, bob.getUserId());
assert.deepEqual(await alice._unstable_getSharedRooms(bob.getUserId()), [roomId]);
const found = await alice.searchMessageText({ query: "early" });
assert.equal(found.search_categories.room_events.results.length, 1);

// A logout: the token is good no more.
bob.stopClient();
await bob.logout(true);
await assert.rejects(bob.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
alice.stopClient();
process.exit(0);

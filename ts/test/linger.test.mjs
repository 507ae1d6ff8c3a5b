// Who goes from one topic to another finds the connection still there, for a while that is known to the
// millisecond: there is no network and no real time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bundle } from "./bundle.mjs";
import { World } from "./world.mjs";

const node = await bundle("client");
globalThis.addEventListener = () => {}; // as in a page
const page = await bundle("client");
delete globalThis.addEventListener;

/** A client in a world that does what happens at once. */
function begin(world, Client) {
  const opened = [];
  const client = new Client("http://x", {
    fetch: world.fetch,
    WebSocket: class extends world.WebSocket {
      constructor(url) {
        super(url);
        opened.push(url);
      }
    },
  });
  const happen = async () => {
    for (let any = true; any; ) {
      await world.settle();
      any = false;
      for (const connection of [...world.connections]) any = connection.step() || any;
      for (const request of [...world.requests]) any = world.serve(request) || any;
    }
  };
  /** Lets timers fire, up to a time. */
  const pass = async (ms) => {
    await happen();
    for (const end = world.clock + ms; world.tick(end); ) await happen();
  };
  return { client, opened, pass };
}

test("a page that goes on to another topic finds the connection", async () => {
  const world = new World(1);
  await world.during(async () => {
    const { client, opened, pass } = begin(world, page.Client);
    const given = [];
    const read = (topic) => client.subscribe(topic, ({ id }) => given.push(id));
    const first = read("t/a");
    await pass(10);
    assert.equal(client.status.transport, "websocket");
    first.close();
    await pass(3000);
    const second = read("t/b");
    await pass(10);
    world.publish("t/a");
    world.publish("t/b");
    await pass(10);
    assert.deepEqual(given, ["1-2"]);
    second.close();
    await pass(3499);
    assert.equal(client.status.state, "connected");
    assert.deepEqual([world.connections.size, opened.length], [1, 1]);
    await pass(1);
    assert.equal(client.status.state, "idle");
    assert.equal(world.connections.size, 0);

    read("t/a").close(); // before there is a connection
    read("t/a");
    await pass(10);
    assert.equal(opened.length, 2);
    client.close();
    assert.equal(world.connections.size, 0, "closed at once");
    await pass(60_000);
    assert.deepEqual([world.timers, opened.length], [0, 2]);
  });
});

test("a connection that is lost while nobody reads is not made again", async () => {
  const world = new World(1);
  await world.during(async () => {
    const { client, opened, pass } = begin(world, page.Client);
    const subscription = client.subscribe("t/a", () => {});
    await pass(10);
    subscription.close();
    await pass(1000);
    for (const connection of world.connections) connection.cut();
    await pass(60_000);
    assert.equal(client.status.state, "idle");
    assert.deepEqual([world.timers, opened.length], [0, 1]);
  });
});

test("a connection that is not allowed any more is not kept", async () => {
  const world = new World(1);
  await world.during(async () => {
    const { client, pass } = begin(world, page.Client);
    const subscription = client.subscribe("t/a", () => {});
    await pass(10);
    subscription.close();
    await pass(1000);
    client.use(["sse"]);
    assert.deepEqual([client.status.state, world.connections.size, world.timers], ["idle", 0, 0]);
    client.subscribe("t/a", () => {});
    await pass(10);
    assert.equal(client.status.transport, "sse");
    client.close();
  });
});

test("node waits half a second at its end", async () => {
  const world = new World(1);
  await world.during(async () => {
    const { client, pass } = begin(world, node.Client);
    const subscription = client.subscribe("t/a", () => {});
    await pass(10);
    subscription.close();
    await pass(499);
    assert.equal(world.connections.size, 1);
    await pass(1);
    assert.deepEqual([client.status.state, world.connections.size, world.timers], ["idle", 0, 0]);
  });
});

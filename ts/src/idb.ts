import type { OutboxStore, Publication } from "./api.ts";

/**
 * Keeps publications in IndexedDB, so that they outlive the page: a reload, a crash, the browser's
 * end. Each client keeps its own; what one has left behind, another takes over, in the order in which
 * it was made. The name stands for a server and its user.
 */
export function indexedDBStore(name: string): OutboxStore {
  const place = `duplex ${name}`;
  const owner = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const lock = (of: string): string => `${place} outbox ${of}`;
  const locks = globalThis.navigator?.locks;
  let database: Promise<IDBDatabase> | undefined;

  const open = (): Promise<IDBDatabase> =>
    (database ??= new Promise((done, fail) => {
      const request = indexedDB.open(place, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("outbox", { autoIncrement: true }).createIndex("key", "key");
      request.onsuccess = () => {
        const db = request.result;
        // The user may delete the site's data, or another version of this may come.
        db.onclose = db.onversionchange = () => {
          database = undefined;
          db.close();
        };
        done(db);
      };
      request.onerror = () => {
        database = undefined;
        fail(request.error);
      };
    }));

  /** Does something with the table, and is done when it is stored. */
  const change = async (work: (table: IDBObjectStore) => void): Promise<void> => {
    const db = await open();
    return new Promise((done, fail) => {
      const transaction = db.transaction("outbox", "readwrite");
      transaction.oncomplete = () => done();
      transaction.onabort = () => fail(transaction.error);
      work(transaction.objectStore("outbox"));
    });
  };

  /** Does something with the place that a key has, if it has one. */
  const changeAt = (key: string, work: (table: IDBObjectStore, at?: IDBValidKey) => void): Promise<void> =>
    change((table) => {
      const request = table.index("key").getKey(key);
      request.onsuccess = () => work(table, request.result);
    });

  // While this client lives, it holds a lock by which others know that its publications are its own.
  let held: Promise<void> | undefined;
  let release!: () => void;
  const closed = new Promise<void>((done) => (release = done));
  const hold = (): Promise<void> =>
    (held ??= new Promise((done) => {
      if (!locks) return done();
      locks.request(lock(owner), () => (done(), closed)).catch(done);
    }));

  const takeOver = async (held: LockInfo[]): Promise<Publication[]> => {
    const found: Publication[] = [];
    await change((table) => {
      const request = table.openCursor();
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return;
        const { owner: of, ...publication } = cursor.value as Publication & { owner: string };
        if (!held.some(({ name }) => name === lock(of))) {
          found.push(publication);
          cursor.update({ ...publication, owner });
        }
        cursor.continue();
      };
    });
    return found;
  };

  return {
    async load() {
      const first = !held;
      await hold();
      // One after the other: two must not take over the same.
      if (locks) return locks.request(lock("loading"), async () => takeOver((await locks.query()).held ?? []));
      return first ? takeOver([]) : []; // who lives is not known here
    },

    async put(publication) {
      await hold();
      await changeAt(publication.key, (table, at) => table.put({ ...publication, owner }, at));
    },

    remove: (key) => changeAt(key, (table, at) => at && table.delete(at)),

    close: release,
  };
}

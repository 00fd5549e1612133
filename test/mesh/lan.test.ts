/** On one LAN an agent finds its coordinator by mDNS, if it knows no address or a former one. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { eventually } from '../support/eventually.ts'
import { lanTest, startLan } from '../support/lan-host.ts'
import { idOf, newKey } from '../support/mesh.ts'

const PORT = 7481

test(
  'an agent finds its coordinator on the LAN without an address, and after it got another',
  lanTest,
  async (t) => {
    const [one, other] = await startLan(t)
    const [key, agentKey, foreign] = [await newKey(), await newKey(), await newKey()]
    await one.order({ do: 'coordinate', key: privateKeyToProtobuf(foreign), port: PORT + 1 })
    const mine = { key: privateKeyToProtobuf(agentKey), coordinator: idOf(key) }
    await other.order({ do: 'join', ...mine })
    await assert.rejects(other.order({ do: 'connect' }), /was not found on the LAN of this host/)
    await one.order({ do: 'coordinate', key: privateKeyToProtobuf(key), port: PORT })
    const found = (): Promise<string | undefined> =>
      other.order({ do: 'connect' }).catch(() => undefined)
    assert.equal(await eventually(found, 60_000), `/ip4/10.77.0.1/tcp/${PORT}`)
    await one.order({ do: 'move', from: '10.77.0.1', to: '10.77.0.9' })
    assert.equal(await eventually(found, 60_000), `/ip4/10.77.0.9/tcp/${PORT}`)
  },
)

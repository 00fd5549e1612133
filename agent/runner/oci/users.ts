/**
 * Who a container's process is, by the image's own files, as Docker reads them
 * (libcontainer/user, GetExecUser). Pure.
 *
 *   ''            root, with the groups that name it
 *   NAME, UID     its line in passwd; a number needs none, and is never taken for a name
 *   …:GROUP       that group, and no others
 */

import { HyperError } from '../../../protocol/errors.ts'

const ID_MAX = 2 ** 31 - 1

export interface Identity {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
}

/** The image's /etc/passwd and /etc/group; '' where it has none. */
export interface UserFiles {
  readonly passwd: string
  readonly group: string
}

const rowsOf = (text: string): string[][] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => line.split(':'))

const idOf = (text: string | undefined): number | null => {
  if (text === undefined || !/^[+-]?\d+$/.test(text)) return null
  return Number(text)
}

/** In a line of a file: what is no number counts as 0 there. */
const idIn = (text: string | undefined): number => idOf(text) ?? 0

const notFound = (what: string, file: string): HyperError =>
  new HyperError(
    'USER_NOT_FOUND',
    `the container could not be started: unable to find ${what}: no matching entries in ${file} file`,
  )

const checked = (id: number, what: string): number => {
  if (id >= 0 && id <= ID_MAX) return id
  throw new HyperError(
    'USER_NOT_FOUND',
    `the container could not be started: ${what} ${id} is not between 0 and ${ID_MAX}`,
  )
}

/** USER_NOT_FOUND. */
export const identityOf = (user: string, { passwd, group }: UserFiles): Identity => {
  const [name = '', groupName = ''] = user.split(':')
  const number = name === '' ? 0 : idOf(name)
  const row = rowsOf(passwd).find(([login, , uid]) =>
    number === null ? login === name : idIn(uid) === number,
  )
  if (row === undefined && number === null) throw notFound(`user ${name}`, 'passwd')
  const uid = checked(idOf(row?.[2]) ?? number ?? 0, 'uid')
  const login = row?.[0] ?? ''
  const groups = rowsOf(group)
  if (groupName === '') {
    const gid = checked(idIn(row?.[3]), 'gid')
    const named = groups.filter(([, , , members = '']) => members.split(',').includes(login))
    const others = login === '' ? [] : named.map(([, , id]) => checked(idIn(id), 'gid'))
    return { uid, gid, additionalGids: [gid, ...others] }
  }
  const groupNumber = idOf(groupName)
  const found = groups.find(([title, , id]) =>
    groupNumber === null ? title === groupName : idIn(id) === groupNumber,
  )
  if (found === undefined && groupNumber === null) throw notFound(`group ${groupName}`, 'group')
  const gid = checked(idOf(found?.[2]) ?? groupNumber ?? 0, 'gid')
  return { uid, gid, additionalGids: [gid] }
}

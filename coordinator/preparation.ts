/** What an agent needs to know of a function to start a container for it ahead of its calls. */

import { SIZES } from '../protocol/func.ts'
import type { Preparation } from '../protocol/messages.ts'
import type { StoredFunc } from './ports.ts'

export const preparationOf = ({ func, image }: StoredFunc): Preparation => ({
  image: {
    ...{ reference: image.reference, digest: image.digest, id: image.id },
    ...(image.isPrivate === true ? { isPrivate: true } : {}),
  },
  workingDir: func.Config.WorkingDir,
  user: func.Config.User,
  network: func.HostConfig.NetworkMode,
  runtime: func.Runtime,
  profile: func.Profile,
  ...SIZES[func.ContainerSize],
})

/** Image records in the shapes of Docker's API, as far as the mesh knows what belongs in them. */

import { type ImageRecord, parseReference } from '../../protocol/image.ts'

const tagsOf = (record: ImageRecord) => {
  const { repository } = parseReference(record.reference)
  return {
    RepoTags: record.reference.includes('@') ? [] : [record.reference],
    RepoDigests: record.digest === null ? [] : [`${repository}@${record.digest}`],
  }
}

export const inspectShape = (record: ImageRecord) => {
  const [os = '', architecture = '', variant = ''] = record.platform.split('/')
  return {
    Id: record.id,
    ...tagsOf(record),
    Parent: '',
    Comment: '',
    Created: record.created,
    Author: '',
    Config: record.config,
    Architecture: architecture,
    ...(variant === '' ? {} : { Variant: variant }),
    Os: os,
    Size: record.sizeBytes,
    VirtualSize: record.sizeBytes,
  }
}

export const listShape = (record: ImageRecord) => {
  const createdMs = Date.parse(record.created)
  return {
    Id: record.id,
    ParentId: '',
    ...tagsOf(record),
    Created: Number.isNaN(createdMs) ? 0 : Math.floor(createdMs / 1000),
    Size: record.sizeBytes,
    VirtualSize: record.sizeBytes,
    SharedSize: -1,
    Containers: -1,
    Labels: record.config.Labels,
  }
}

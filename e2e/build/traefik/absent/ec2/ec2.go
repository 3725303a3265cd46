// Package ec2 is a stub, see ../README.md.
package ec2

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Client asks nobody.
type Client struct{}

// NewFromConfig makes one, of whatever configuration.
func NewFromConfig[Config any](Config) *Client { return &Client{} }

// DescribeInstancesInput names instances.
type DescribeInstancesInput struct{ InstanceIds []string }

// DescribeInstancesOutput describes them.
type DescribeInstancesOutput struct{ Reservations []types.Reservation }

// DescribeInstancesPaginator has one page, which cannot be read.
type DescribeInstancesPaginator struct{}

// NewDescribeInstancesPaginator makes one.
func NewDescribeInstancesPaginator(*Client, *DescribeInstancesInput) *DescribeInstancesPaginator {
	return &DescribeInstancesPaginator{}
}

// HasMorePages is true, so that NextPage is called and fails.
func (*DescribeInstancesPaginator) HasMorePages() bool { return true }

// NextPage fails: whoever configures the provider learns it here.
func (*DescribeInstancesPaginator) NextPage(context.Context) (*DescribeInstancesOutput, error) {
	return nil, errors.New("this Traefik is built without Amazon ECS, see e2e/build/traefik/absent")
}
